//! A life that ends, as what it adds to the sums.

use mxray_mail::causes::Cause;

use super::life::{Birth, End, Life, State};
use super::sums::Recipients;

/// What one life adds to the sums.
pub(super) struct Fold {
    pub received: bool,
    pub recipients: Recipients,
    /// Receiver, last cause, and the recipient's part.
    pub rows: Vec<(u32, Cause, Recipients)>,
}

impl Fold {
    /// `end` says what becomes of those that are not final.
    pub fn of(life: &Life, end: End) -> Fold {
        let received = life.is_message() && !life.notice && !life.continued && life.birth != Birth::Before;
        let mut fold =
            Fold { received, recipients: Recipients::default(), rows: Vec::with_capacity(life.recipients.len()) };
        for recipient in &life.recipients {
            let mut part = Recipients { deferred_ever: u64::from(recipient.deferred), ..Recipients::default() };
            match recipient.state {
                State::HandedOn => continue,
                State::Delivered => part.delivered = 1,
                State::Bounced => {
                    part.bounced = 1;
                    part.bounced_hard = u64::from(recipient.cause.is_recipient_side());
                    part.blocked = u64::from(recipient.cause.is_block());
                }
                State::Expired => {
                    part.expired = 1;
                    part.blocked = u64::from(recipient.cause.is_block());
                }
                State::Pending if life.expired => {
                    part.expired = 1;
                    part.blocked = u64::from(recipient.cause.is_block());
                }
                State::Pending => fold.open(&mut part, end, 1),
            }
            fold.recipients.merge(&part);
            // What was delivered in the end has no last cause.
            let cause = if part.delivered > 0 { Cause::DeliveredReport } else { recipient.cause };
            fold.rows.push((recipient.receiver, cause, part));
        }
        let mut unseen = Recipients::default();
        if life.expired {
            unseen.expired = life.unseen();
        } else {
            fold.open(&mut unseen, end, life.unseen());
        }
        fold.recipients.merge(&unseen);
        fold
    }

    fn open(&self, part: &mut Recipients, end: End, count: u64) {
        match end {
            // Goes on elsewhere and is counted there.
            End::Requeued => part.deferred_ever = 0,
            End::Forgotten => part.pending = count,
            _ => part.unknown = count,
        }
    }
}
