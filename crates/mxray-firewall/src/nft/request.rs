//! The requests whose answers [`super::Decoder`] reads, as bytes for a `NETLINK_NETFILTER` socket.

use crate::ruleset::Family;

/// `NFNL_SUBSYS_NFTABLES << 8`
const NFTABLES: u16 = 10 << 8;
/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const DUMP: u16 = 0x301;
/// `NFTA_SET_ELEM_LIST_TABLE`, `NFTA_SET_ELEM_LIST_SET`
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;

/// What to ask the kernel for. Tables first: what belongs to a table that is not known is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dump {
    Tables,
    Chains,
    Rules,
    Sets,
    Objects,
}

impl Dump {
    /// In the order in which they have to be read.
    pub const ALL: [Dump; 5] = [Dump::Tables, Dump::Sets, Dump::Objects, Dump::Chains, Dump::Rules];

    /// `NFT_MSG_GET*`
    fn number(self) -> u16 {
        match self {
            Dump::Tables => 1,
            Dump::Chains => 4,
            Dump::Rules => 7,
            Dump::Sets => 10,
            Dump::Objects => 19,
        }
    }
}

/// A dump of all families.
pub fn dump(what: Dump, sequence: u32) -> Vec<u8> {
    message(what.number(), DUMP, sequence, 0, &[])
}

/// A dump of one set's elements.
pub fn elements(family: Family, table: &str, set: &str, sequence: u32) -> Vec<u8> {
    message(13, DUMP, sequence, family.number(), &[(LIST_TABLE, table), (LIST_SET, set)])
}

/// The number of the ruleset's generation: the same before and after means that nothing changed in between.
pub fn generation(sequence: u32) -> Vec<u8> {
    message(16, REQUEST, sequence, 0, &[])
}

/// `struct nlmsghdr`, `struct nfgenmsg`, then attributes with texts.
fn message(number: u16, flags: u16, sequence: u32, family: u8, texts: &[(u16, &str)]) -> Vec<u8> {
    let mut body = vec![family, 0, 0, 0];
    for (kind, text) in texts {
        let len = u16::try_from(text.len() + 5).unwrap_or(u16::MAX);
        body.extend_from_slice(&len.to_ne_bytes());
        body.extend_from_slice(&kind.to_ne_bytes());
        body.extend_from_slice(text.as_bytes());
        body.push(0);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut out = Vec::with_capacity(body.len() + 16);
    out.extend_from_slice(&u32::try_from(body.len() + 16).unwrap_or(u32::MAX).to_ne_bytes());
    out.extend_from_slice(&(NFTABLES | number).to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&0u32.to_ne_bytes());
    out.extend_from_slice(&body);
    out
}
