//! What a rule is made of: nf_tables' own expressions, and the matches and targets of xtables, which both `iptables-legacy` and
//! `iptables-nft` use.

use crate::ruleset::Verdict;
use crate::xt::{Match, Target};

/// A place of nf_tables' 64 bytes of registers, where a value begins.
pub type Register = usize;

/// Where a payload expression counts from (`enum nft_payload_bases`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    Link,
    Network,
    Transport,
    Inner,
    Other(u32),
}

/// `enum nft_cmp_ops`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// `enum nft_bitwise_ops`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bitwise {
    /// `(value & mask) ^ xor`
    MaskXor {
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    ShiftLeft(u32),
    ShiftRight(u32),
    /// With a second register, or another operation: the result is not known.
    Other,
}

/// Which of a connection's two directions a conntrack key is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Original,
    Reply,
}

/// A network address translation (`enum nft_nat_types` and the expressions of their own).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    Source,
    Destination,
    Masquerade,
    Redirect,
}

/// One expression. Names and numbers are those of linux/netfilter/nf_tables.h.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    Payload {
        to: Register,
        base: Base,
        offset: u32,
        len: u32,
    },
    PayloadSet {
        from: Register,
        base: Base,
        offset: u32,
        len: u32,
    },
    Meta {
        to: Register,
        key: u32,
    },
    MetaSet {
        from: Register,
        key: u32,
    },
    Ct {
        to: Register,
        key: u32,
        way: Option<Way>,
    },
    CtSet {
        from: Register,
        key: u32,
        way: Option<Way>,
    },
    Compare {
        from: Register,
        order: Order,
        value: Vec<u8>,
    },
    Range {
        from: Register,
        inverted: bool,
        low: Vec<u8>,
        high: Vec<u8>,
    },
    Bitwise {
        from: Register,
        to: Register,
        len: usize,
        operation: Bitwise,
    },
    /// To the network's byte order or from it: the same on every machine but for a big-endian one, where it is nothing.
    ByteOrder {
        from: Register,
        to: Register,
        len: usize,
        size: usize,
    },
    Lookup {
        set: String,
        from: Register,
        to: Option<Register>,
        verdict: bool,
        inverted: bool,
    },
    /// Adds to a set, and looks at the element's own expressions.
    Dynamic {
        set: String,
        key: Register,
        operation: u32,
        inverted: bool,
        expressions: Vec<Expression>,
    },
    Immediate {
        to: Register,
        value: Vec<u8>,
    },
    Verdict(Verdict),
    Reject {
        kind: u32,
        code: u8,
    },
    Nat {
        kind: Nat,
        family: Option<u32>,
        address: Option<(Register, Register)>,
        port: Option<(Register, Register)>,
        flags: u32,
    },
    /// To a socket of this host, without a change of the packet.
    Tproxy {
        family: u32,
        address: Option<Register>,
        port: Option<Register>,
    },
    Fib {
        to: Register,
        result: u32,
        flags: u32,
    },
    Socket {
        to: Register,
        key: u32,
        level: u32,
    },
    /// A token bucket: what a single quiet packet gets is known.
    Limit {
        over: bool,
        rate: u64,
        unit: u64,
        burst: u32,
        bytes: bool,
    },
    Quota {
        over: bool,
        bytes: u64,
        consumed: u64,
    },
    ConnLimit {
        over: bool,
        count: u32,
    },
    Counter {
        packets: u64,
        bytes: u64,
    },
    Log {
        prefix: String,
        group: Option<u32>,
    },
    NumberGenerator {
        to: Register,
        modulus: u32,
        offset: u32,
        random: bool,
    },
    Hash {
        to: Register,
        modulus: u32,
        offset: u32,
    },
    /// An IPv6 extension header or an option of TCP or IPv4. `to` is none where it is compared elsewhere.
    Extension {
        to: Option<Register>,
        operation: u32,
        kind: u8,
        offset: u32,
        len: u32,
        presence: bool,
    },
    NoTrack,
    Queue {
        number: u32,
        bypass: bool,
    },
    /// A named object.
    ObjectName {
        name: String,
        kind: u32,
    },
    /// A named object, chosen by a map.
    ObjectMap {
        set: String,
        from: Register,
    },
    /// An expression that leaves the packet and the registers as they are: `dup`, `flow add`, `secmark`.
    Harmless {
        name: String,
        words: String,
    },
    Match(Match),
    Target(Target),
    /// Not understood. `to` is the register that it fills, where that is known; `decides` says that it may give a verdict or
    /// change the packet.
    Unknown {
        name: String,
        to: Option<Register>,
        decides: bool,
    },
}

/// Keys of `meta` (`enum nft_meta_keys`) that tell of the sender.
const META_MARK: u32 = 3;
const META_UID: u32 = 10;
const META_GID: u32 = 11;
const META_CGROUP: u32 = 23;
/// `NFT_SOCKET_MARK`, `NFT_SOCKET_CGROUPV2`
const SOCKET_MARK: u32 = 1;
const SOCKET_CGROUP2: u32 = 3;

impl Expression {
    /// Whether it looks at who sends: user, group, mark or cgroup.
    pub fn by_sender(&self) -> bool {
        match self {
            Expression::Meta { key, .. } => [META_MARK, META_UID, META_GID, META_CGROUP].contains(key),
            Expression::Socket { key, .. } => [SOCKET_MARK, SOCKET_CGROUP2].contains(key),
            Expression::Match(Match::Owner { .. } | Match::Mark { .. } | Match::Cgroup { .. }) => true,
            // Its words were not understood: a user by name.
            Expression::Match(Match::Unknown { name }) => name == "owner" || name == "cgroup",
            _ => false,
        }
    }
}
