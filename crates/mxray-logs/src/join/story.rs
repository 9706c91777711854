//! Lines that are kept with the lives that they tell of, while some life is looked for, and their bound.

use mxray_model::text::untrusted;

use super::life::{Key, Life};
use super::{Analysis, STORY_LINE_BYTES_MAX, STORY_LINE_OVERHEAD, STORY_LINES_MAX};
use crate::event::Event;
use crate::stamp::Stamp;

/// The id that a line is about.
pub(super) fn id_of<'a>(event: &Event<'a>) -> Option<&'a [u8]> {
    match event {
        Event::MessageId { id, .. }
        | Event::Queued { id, .. }
        | Event::Attempt { id, .. }
        | Event::Expired { id }
        | Event::Split { id, .. }
        | Event::Removed { id }
        | Event::Canceled { id }
        | Event::Held { id }
        | Event::Discarded { id }
        | Event::Notice { id, .. }
        | Event::Filtered { id, .. }
        | Event::Arrival { id, .. } => Some(id),
        Event::Refusal { id, .. } | Event::Skipped { id, .. } => *id,
        _ => None,
    }
}

/// What the lines of a life take.
pub(super) fn bytes_of(life: &Life) -> usize {
    life.lines.iter().map(|(_, text)| text.len() + STORY_LINE_OVERHEAD).sum()
}

impl Analysis {
    /// Keeps a line with its life; says whether there is one.
    pub(super) fn keep_line(&mut self, key: Key, stamp: Option<Stamp>, raw: &[u8]) -> bool {
        if self.story_bytes > self.story_bytes_max {
            self.drop_lines();
        }
        let Some(life) = self.lives.get_mut(&key) else { return false };
        if life.lines.len() >= STORY_LINES_MAX {
            life.lines_left_out += 1;
            return true;
        }
        let text = untrusted(&raw[..raw.len().min(STORY_LINE_BYTES_MAX)]);
        self.story_bytes += text.len() + STORY_LINE_OVERHEAD;
        life.lines.push((stamp, text));
        true
    }

    /// What goes on from a life that is looked for is told too.
    pub(super) fn want_too(&mut self, parent: Key, child: Key) {
        if self.options.selection.is_some() && self.lives.get(&parent).is_some_and(|life| self.is_wanted(&parent, life))
        {
            self.wanted.insert(child);
        }
    }

    /// Makes room: half of what is kept goes, of those first that nobody asked for yet, and of them of the oldest.
    fn drop_lines(&mut self) {
        let mut order: Vec<(bool, Stamp, Key)> = self
            .lives
            .iter()
            .filter(|(_, life)| !life.lines.is_empty())
            .map(|(key, life)| (self.is_wanted(key, life), life.last, *key))
            .collect();
        order.sort_unstable();
        for (_, _, key) in order {
            if self.story_bytes <= self.story_bytes_max / 2 {
                return;
            }
            let Some(life) = self.lives.get_mut(&key) else { continue };
            self.story_bytes = self.story_bytes.saturating_sub(bytes_of(life));
            life.lines_left_out += life.lines.len() as u64;
            life.lines = Vec::new();
        }
    }
}
