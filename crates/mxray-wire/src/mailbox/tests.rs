//! Plays every file in `scenarios/imap`, `pop3` and `sieve` against the machine, and random servers.

use super::{Mailbox, Plan};
use crate::play;
use crate::scenario::Scenario;
use crate::{Client, Machine, Moment, Want};
use mxray_model::session::MailboxProtocol;
use proptest::prelude::*;

const WORDS: &[&str] = &["depth", "starttls", "tls", "user", "password", "mechanisms", "nonce", "clear", "initial"];

fn client(protocol: MailboxProtocol, scenario: &Scenario) -> Client<Mailbox> {
    let of = play::words(scenario, WORDS);
    let mut plan = Plan::new(protocol);
    plan.depth = play::depth(of("depth").unwrap_or("tls"));
    plan.starttls = play::starttls(of("starttls"));
    plan.implicit_tls = of("tls") == Some("implicit");
    plan.auth = play::auth(&of);
    Client::mailbox(plan)
}

fn imap(scenario: &Scenario) -> Client<Mailbox> {
    client(MailboxProtocol::Imap, scenario)
}

fn pop3(scenario: &Scenario) -> Client<Mailbox> {
    client(MailboxProtocol::Pop3, scenario)
}

fn sieve(scenario: &Scenario) -> Client<Mailbox> {
    client(MailboxProtocol::Sieve, scenario)
}

#[test]
fn every_scenario_ends_as_it_says() {
    play::check_all("imap", imap);
    play::check_all("pop3", pop3);
    play::check_all("sieve", sieve);
}

#[test]
fn any_cut_of_the_bytes_gives_the_same_session() {
    play::check_cuts("imap", imap);
    play::check_cuts("pop3", pop3);
    play::check_cuts("sieve", sieve);
}

proptest! {
    /// Whatever comes, the machine neither panics nor keeps more than its bounds, and it ends when the peer does.
    #[test]
    fn nothing_that_a_server_says_hurts(pieces in proptest::collection::vec(
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            Just(b"* OK a\r\n".to_vec()), Just(b"+OK a\r\n".to_vec()), Just(b"OK\r\n".to_vec()), Just(b"+ \r\n".to_vec()),
            Just(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR STARTTLS\r\nm1 OK x\r\n".to_vec()), Just(b".\r\n".to_vec()),
            Just(b"SASL PLAIN LOGIN\r\nSTLS\r\n.\r\n".to_vec()), Just(b"\"SASL\" \"PLAIN\"\r\nOK\r\n".to_vec()),
            Just(b"* X {10}\r\n".to_vec()), Just(b"m2 OK go\r\n".to_vec()),
        ], 0..40), tls in any::<bool>(), make in prop_oneof![Just(imap as fn(&Scenario) -> Client<Mailbox>), Just(pop3 as _), Just(sieve as _)])
    {
        let words = [("depth", "auth"), ("user", "tim"), ("password", "tanstaaf"), ("clear", "yes")];
        let plan = words.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let mut client: Client<Mailbox> = make(&Scenario { plan, ..Scenario::default() });
        for piece in pieces {
            while !matches!(client.want(Moment::ZERO), Want::Read { .. } | Want::Done) {
                client.on_tls(tls, Moment::ZERO);
            }
            client.on_bytes(&piece, Moment::ZERO);
        }
        for _ in 0..20 {
            if client.want(Moment::ZERO) == Want::StartTls {
                client.on_tls(false, Moment::ZERO);
            }
            client.on_closed(Moment::ZERO);
        }
        prop_assert!(client.is_over());
    }
}
