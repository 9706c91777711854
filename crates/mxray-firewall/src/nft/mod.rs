//! nf_tables' netlink messages, read into a [`Ruleset`].
//!
//! The kernel's messages are the input, whole and in the order in which they came: dumps of tables, chains, rules, sets, their
//! elements, objects. Reading sockets is `mxray-host`'s. What lies outside a message's own bounds is never looked at.

pub mod request;

use crate::ruleset::{Family, Framework, LeftOut, Rule, Ruleset, Table};

/// Collects messages until the ruleset is complete.
#[derive(Debug)]
pub struct Decoder {
    tables: Vec<Table>,
    left_out: Vec<LeftOut>,
}

/// What a datagram said of the dump that it belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fed {
    /// The dump is at its end (`NLMSG_DONE`).
    pub done: bool,
    /// The ruleset changed meanwhile (`NLM_F_DUMP_INTR`): what was read may be no ruleset that ever was.
    pub interrupted: bool,
    /// The kernel refused, by errno.
    pub error: Option<i32>,
    /// The number of the ruleset's generation, from `NFT_MSG_NEWGEN`.
    pub generation: Option<u32>,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new()
    }
}

impl Decoder {
    pub fn new() -> Self {
        Decoder { tables: Vec::new(), left_out: Vec::new() }
    }

    /// Takes one datagram: any number of netlink messages.
    pub fn feed(&mut self, datagram: &[u8]) -> Fed {
        let _ = datagram;
        Fed::default()
    }

    /// The sets that were seen so far, whose elements have to be asked for one by one: family, table, set.
    pub fn sets(&self) -> Vec<(Family, String, String)> {
        Vec::new()
    }

    /// Says that something could not be asked for.
    pub fn leave_out(&mut self, what: &str, why: &str) {
        self.left_out.push(LeftOut { what: what.to_owned(), why: why.to_owned(), table: None });
    }

    pub fn finish(self) -> Ruleset {
        Ruleset { framework: Framework::NfTables, tables: self.tables, left_out: self.left_out }
    }
}

pub(crate) fn text(table: &Table, rule: &Rule) -> String {
    let _ = (table, rule);
    String::new()
}
