//! What a scenario file is made of: who said what, in order, with secrets masked, up to a bound.

use mxray_model::session::Raw;
use std::fmt::Write as _;

/// Most bytes that are kept. A conversation that somebody typed has some kilobytes; a mailbox that was fetched has more.
const KEPT_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Server(Vec<u8>),
    Client(Vec<u8>),
    Tls(bool),
    Closed { in_order: bool },
}

/// The conversation so far.
#[derive(Debug, Default)]
pub(super) struct Kept {
    steps: Vec<Step>,
    bytes: usize,
    left_out: u64,
}

impl Kept {
    pub fn server(&mut self, bytes: &[u8]) {
        if self.has_room(bytes) {
            match self.steps.last_mut() {
                Some(Step::Server(said)) => said.extend_from_slice(bytes),
                _ => self.steps.push(Step::Server(bytes.to_vec())),
            }
        }
    }

    pub fn client(&mut self, bytes: &[u8]) {
        if self.has_room(bytes) {
            match self.steps.last_mut() {
                Some(Step::Client(said)) => said.extend_from_slice(bytes),
                _ => self.steps.push(Step::Client(bytes.to_vec())),
            }
        }
    }

    pub fn tls(&mut self, established: bool) {
        self.steps.push(Step::Tls(established));
    }

    pub fn closed(&mut self, in_order: bool) {
        self.steps.push(Step::Closed { in_order });
    }

    /// From the first byte that is left out on, all are: a conversation with holes is none.
    fn has_room(&mut self, bytes: &[u8]) -> bool {
        if self.left_out > 0 || self.bytes + bytes.len() > KEPT_BYTES_MAX {
            self.left_out += bytes.len() as u64;
            return false;
        }
        self.bytes += bytes.len();
        true
    }

    /// `masked` hides secrets in what one side said in one go.
    pub fn scenario(&self, title: &str, masked: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail, here and below.
        for line in title.lines() {
            let _ = writeln!(text, "# {line}");
        }
        for step in &self.steps {
            match step {
                Step::Server(bytes) => lines(&mut text, 'S', &masked(bytes)),
                Step::Client(bytes) => lines(&mut text, 'C', &masked(bytes)),
                Step::Tls(established) => {
                    text.push_str(if *established { "tls: ok\n" } else { "tls: fails\n" });
                }
                Step::Closed { in_order } => text.push_str(if *in_order { "close\n" } else { "reset\n" }),
            }
        }
        if self.left_out > 0 {
            let _ = writeln!(text, "# {} more bytes were said, and are not kept", self.left_out);
        }
        text
    }
}

/// `S: ` for a line that ends with CRLF, `s: ` for other bytes.
fn lines(text: &mut String, who: char, bytes: &[u8]) {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let _ = match line.strip_suffix(b"\r\n") {
            Some(plain) => writeln!(text, "{who}: {}", Raw::from(plain)),
            None => writeln!(text, "{}: {}", who.to_ascii_lowercase(), Raw::from(line)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{self, Scenario};
    use proptest::prelude::*;

    #[test]
    fn what_is_too_much_is_counted_and_not_kept() {
        let mut kept = Kept::default();
        kept.server(b"220 a\r\n");
        kept.server(&vec![b'x'; KEPT_BYTES_MAX]);
        kept.client(b"QUIT\r\n");
        let text = kept.scenario("a\nb", <[u8]>::to_vec);
        assert_eq!(
            text,
            format!("# a\n# b\nS: 220 a\n# {} more bytes were said, and are not kept\n", KEPT_BYTES_MAX + 6)
        );
    }

    proptest! {
        /// Whatever was said, the file says it.
        #[test]
        fn a_file_holds_every_byte(said in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 1..40)), 0..20))
        {
            let mut kept = Kept::default();
            let mut expected: Vec<scenario::Step> = Vec::new();
            for (server, bytes) in said {
                if server { kept.server(&bytes) } else { kept.client(&bytes) }
                match (expected.last_mut(), server) {
                    (Some(scenario::Step::Server(all)), true) | (Some(scenario::Step::Client(all)), false) => all.extend(bytes),
                    (_, true) => expected.push(scenario::Step::Server(bytes)),
                    (_, false) => expected.push(scenario::Step::Client(bytes)),
                }
            }
            kept.closed(true);
            expected.push(scenario::Step::Close);
            prop_assert_eq!(Scenario::parse(&kept.scenario("", <[u8]>::to_vec)).unwrap().steps, expected);
        }
    }
}
