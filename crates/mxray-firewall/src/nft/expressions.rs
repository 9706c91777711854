//! One expression of a rule, by its name and attributes (linux/netfilter/nf_tables.h).

use super::attributes::Attributes;
use crate::expression::{Base, Bitwise, Expression, Nat, Order, Register, Way};
use crate::ruleset::Verdict;
use crate::xt::compat;

/// A rule inside a rule's expression inside a set: the kernel does not nest deeper than a set's own expressions.
const DEPTH_MAX: u32 = 3;
/// The kernel's own limit (`NFT_RULE_MAXEXPRS`).
const EXPRESSIONS_MAX: usize = 128;
/// Bytes of nf_tables' registers.
pub const REGISTER_BYTES: usize = 64;

/// A list of expressions (`NFTA_LIST_ELEM` each).
pub fn list(attributes: Attributes<'_>, v6: bool, depth: u32) -> Vec<Expression> {
    attributes.take(EXPRESSIONS_MAX).map(|(_, one)| expression(Attributes(one), v6, depth)).collect()
}

/// One expression: its name and what belongs to it.
pub fn expression(attributes: Attributes<'_>, v6: bool, depth: u32) -> Expression {
    let name = attributes.text(1).unwrap_or_default();
    let data = attributes.nested(2);
    let unknown = || Expression::Unknown { name: name.clone(), to: None, decides: true };
    if depth > DEPTH_MAX {
        return unknown();
    }
    let read = match name.as_str() {
        "immediate" => immediate(data),
        "cmp" => compare(data),
        "payload" => payload(data),
        "meta" => loads(data, |to, key| Expression::Meta { to, key }, |from, key| Expression::MetaSet { from, key }),
        "ct" => connection(data),
        "lookup" => lookup(data),
        "bitwise" => bitwise(data),
        "range" => range(data),
        "byteorder" => byte_order(data),
        "reject" => data.u32(1).map(|kind| Expression::Reject { kind, code: data.u8(2).unwrap_or(0) }),
        "nat" | "masq" | "redir" => translation(&name, data),
        "tproxy" => {
            data.u32(1).map(|family| Expression::Tproxy { family, address: register(data, 2), port: register(data, 3) })
        }
        "fib" => register(data, 1).map(|to| Expression::Fib {
            to,
            result: data.u32(2).unwrap_or(0),
            flags: data.u32(3).unwrap_or(0),
        }),
        "socket" => register(data, 2).map(|to| Expression::Socket {
            to,
            key: data.u32(1).unwrap_or(u32::MAX),
            level: data.u32(3).unwrap_or(0),
        }),
        "dynset" => dynamic(data, v6, depth),
        "match" => Some(Expression::Match(compat::read_match(
            &data.text(1).unwrap_or_default(),
            data.u32(2).unwrap_or(0),
            data.get(3).unwrap_or_default(),
            v6,
        ))),
        "target" => Some(Expression::Target(compat::read_target(
            &data.text(1).unwrap_or_default(),
            data.u32(2).unwrap_or(0),
            data.get(3).unwrap_or_default(),
            v6,
        ))),
        _ => stateful(&name, data).or_else(|| rare(&name, data)),
    };
    read.unwrap_or_else(unknown)
}

/// What keeps a state of its own, in rules, in set elements and as named objects.
pub fn stateful(name: &str, data: Attributes<'_>) -> Option<Expression> {
    Some(match name {
        "counter" => Expression::Counter { bytes: data.u64(1)?, packets: data.u64(2)? },
        "limit" => Expression::Limit {
            rate: data.u64(1)?,
            unit: data.u64(2)?,
            burst: data.u32(3).unwrap_or(0),
            bytes: data.u32(4).unwrap_or(0) == 1,
            over: data.u32(5).unwrap_or(0) & 1 != 0,
        },
        "quota" => Expression::Quota {
            bytes: data.u64(1)?,
            over: data.u32(2).unwrap_or(0) & 1 != 0,
            consumed: data.u64(4).unwrap_or(0),
        },
        "connlimit" => Expression::ConnLimit { count: data.u32(1)?, over: data.u32(2).unwrap_or(0) & 1 != 0 },
        _ => return None,
    })
}

fn rare(name: &str, data: Attributes<'_>) -> Option<Expression> {
    let harmless =
        |words: String| Some(Expression::Harmless { name: name.to_owned(), words: words.trim_end().to_owned() });
    let loads =
        |number| Some(Expression::Unknown { name: name.to_owned(), to: register(data, number), decides: false });
    match name {
        "log" => {
            let group = data.get(1).and_then(|bytes| Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?)));
            Some(Expression::Log { prefix: data.text(2).unwrap_or_default(), group: group.map(u32::from) })
        }
        "numgen" => Some(Expression::NumberGenerator {
            to: register(data, 1)?,
            modulus: data.u32(2)?,
            random: data.u32(3).unwrap_or(0) == 1,
            offset: data.u32(4).unwrap_or(0),
        }),
        "hash" => {
            Some(Expression::Hash { to: register(data, 2)?, modulus: data.u32(4)?, offset: data.u32(6).unwrap_or(0) })
        }
        // With a source register it changes an option of the packet (the segment size), with none it strips one: its way stays.
        "exthdr" if data.get(7).is_some() => harmless(format!("tcp option {} set", data.u8(2).unwrap_or(0))),
        "exthdr" if data.get(1).is_none() => harmless(format!("reset tcp option {}", data.u8(2).unwrap_or(0))),
        "exthdr" => Some(Expression::Extension {
            to: register(data, 1),
            kind: data.u8(2)?,
            offset: data.u32(3).unwrap_or(0),
            len: data.u32(4).unwrap_or(0),
            presence: data.u32(5).unwrap_or(0) & 1 != 0,
            operation: data.u32(6).unwrap_or(0),
        }),
        "notrack" => Some(Expression::NoTrack),
        "queue" => {
            let number = data.get(1).and_then(|bytes| Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?)));
            let flags = data.get(3).and_then(|bytes| Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?)));
            Some(Expression::Queue { number: number.map_or(0, u32::from), bypass: flags.unwrap_or(0) & 1 != 0 })
        }
        "objref" => match (data.text(2), data.text(4)) {
            (Some(object), _) => Some(Expression::ObjectName { name: object, kind: data.u32(1).unwrap_or(0) }),
            (None, Some(set)) => Some(Expression::ObjectMap { set, from: register(data, 3)? }),
            (None, None) => None,
        },
        "last" => harmless("last".to_owned()),
        "dup" => harmless("dup".to_owned()),
        "flow_offload" => harmless(format!("flow add @{}", data.text(1).unwrap_or_default())),
        "rt" | "xfrm" | "osf" => loads(1),
        "tunnel" => loads(2),
        "inner" => Some(Expression::Unknown { name: name.to_owned(), to: None, decides: false }),
        _ => None,
    }
}

/// Where a register begins in the 64 bytes: four of 16 bytes (`NFT_REG_1`…), or sixteen of four (`NFT_REG32_00`…).
fn place(number: u32) -> Option<Register> {
    let number = usize::try_from(number).ok()?;
    match number {
        1..=4 => Some((number - 1) * 16),
        8..=23 => Some((number - 8) * 4),
        _ => None,
    }
}

fn register(data: Attributes<'_>, kind: u16) -> Option<Register> {
    place(data.u32(kind)?)
}

/// A constant of at most the registers' length.
fn value(data: Attributes<'_>, kind: u16) -> Option<Vec<u8>> {
    let bytes = data.nested(kind).get(1)?;
    (!bytes.is_empty() && bytes.len() <= REGISTER_BYTES).then(|| bytes.to_vec())
}

/// `NFTA_DATA_VERDICT`
pub fn verdict(data: Attributes<'_>) -> Option<Verdict> {
    let inner = data.nested(2);
    let code = i32::from_be_bytes(inner.u32(1)?.to_be_bytes());
    let chain = || inner.text(2);
    Some(match code {
        -1 => Verdict::Continue,
        -2 => Verdict::Break,
        -3 => Verdict::Jump(chain()?),
        -4 => Verdict::Goto(chain()?),
        -5 => Verdict::Return,
        other => match other & 0xff {
            0 => Verdict::Drop,
            1 => Verdict::Accept,
            2 => Verdict::Stolen,
            3 => Verdict::Queue,
            _ => Verdict::Other(other),
        },
    })
}

fn immediate(data: Attributes<'_>) -> Option<Expression> {
    if data.u32(1)? == 0 {
        return verdict(data.nested(2)).map(Expression::Verdict);
    }
    Some(Expression::Immediate { to: register(data, 1)?, value: value(data, 2)? })
}

fn compare(data: Attributes<'_>) -> Option<Expression> {
    let order = match data.u32(2)? {
        0 => Order::Equal,
        1 => Order::NotEqual,
        2 => Order::Less,
        3 => Order::LessOrEqual,
        4 => Order::Greater,
        5 => Order::GreaterOrEqual,
        _ => return None,
    };
    Some(Expression::Compare { from: register(data, 1)?, order, value: value(data, 3)? })
}

fn payload(data: Attributes<'_>) -> Option<Expression> {
    let base = match data.u32(2)? {
        0 => Base::Link,
        1 => Base::Network,
        2 => Base::Transport,
        3 => Base::Inner,
        other => Base::Other(other),
    };
    let (offset, len) = (data.u32(3)?, data.u32(4)?);
    match (register(data, 1), register(data, 5)) {
        (_, Some(from)) => Some(Expression::PayloadSet { from, base, offset, len }),
        (Some(to), None) => Some(Expression::Payload { to, base, offset, len }),
        (None, None) => None,
    }
}

/// Of an expression with destination (1), key (2) and source (3).
fn loads(
    data: Attributes<'_>,
    load: impl Fn(Register, u32) -> Expression,
    store: impl Fn(Register, u32) -> Expression,
) -> Option<Expression> {
    let key = data.u32(2)?;
    match (register(data, 1), register(data, 3)) {
        (Some(to), _) => Some(load(to, key)),
        (None, Some(from)) => Some(store(from, key)),
        (None, None) => None,
    }
}

fn connection(data: Attributes<'_>) -> Option<Expression> {
    let key = data.u32(2)?;
    let way = data.u8(3).map(|number| if number == 0 { Way::Original } else { Way::Reply });
    match (register(data, 1), register(data, 4)) {
        (Some(to), _) => Some(Expression::Ct { to, key, way }),
        (None, Some(from)) => Some(Expression::CtSet { from, key, way }),
        (None, None) => None,
    }
}

fn lookup(data: Attributes<'_>) -> Option<Expression> {
    let to = data.u32(3);
    Some(Expression::Lookup {
        set: data.text(1)?,
        from: register(data, 2)?,
        to: to.and_then(place),
        verdict: to == Some(0),
        inverted: data.u32(5).unwrap_or(0) & 1 != 0,
    })
}

fn bitwise(data: Attributes<'_>) -> Option<Expression> {
    let operation = match data.u32(6).unwrap_or(0) {
        0 => Bitwise::MaskXor { mask: value(data, 4)?, xor: value(data, 5)? },
        shift @ 1..=2 => {
            let by = u32::from_ne_bytes(value(data, 7)?.get(..4)?.try_into().ok()?);
            if shift == 1 { Bitwise::ShiftLeft(by) } else { Bitwise::ShiftRight(by) }
        }
        _ => Bitwise::Other,
    };
    let len = usize::try_from(data.u32(3)?).ok()?;
    Some(Expression::Bitwise {
        from: register(data, 1)?,
        to: register(data, 2)?,
        len: len.min(REGISTER_BYTES),
        operation,
    })
}

fn range(data: Attributes<'_>) -> Option<Expression> {
    Some(Expression::Range {
        from: register(data, 1)?,
        inverted: data.u32(2)? == 1,
        low: value(data, 3)?,
        high: value(data, 4)?,
    })
}

fn byte_order(data: Attributes<'_>) -> Option<Expression> {
    Some(Expression::ByteOrder {
        from: register(data, 1)?,
        to: register(data, 2)?,
        len: usize::try_from(data.u32(4)?).ok()?.min(REGISTER_BYTES),
        size: usize::try_from(data.u32(5)?).ok()?,
    })
}

fn translation(name: &str, data: Attributes<'_>) -> Option<Expression> {
    let pair = |low: u16, high: u16| {
        let low = register(data, low)?;
        Some((low, register(data, high).unwrap_or(low)))
    };
    Some(match name {
        "nat" => Expression::Nat {
            kind: match data.u32(1)? {
                0 => Nat::Source,
                1 => Nat::Destination,
                _ => return None,
            },
            family: data.u32(2),
            address: pair(3, 4),
            port: pair(5, 6),
            flags: data.u32(7).unwrap_or(0),
        },
        "masq" => Expression::Nat {
            kind: Nat::Masquerade,
            family: None,
            address: None,
            port: pair(2, 3),
            flags: data.u32(1).unwrap_or(0),
        },
        _ => Expression::Nat {
            kind: Nat::Redirect,
            family: None,
            address: None,
            port: pair(1, 2),
            flags: data.u32(3).unwrap_or(0),
        },
    })
}

fn dynamic(data: Attributes<'_>, v6: bool, depth: u32) -> Option<Expression> {
    let mut expressions = list(data.nested(10), v6, depth + 1);
    if let (true, Some(one)) = (expressions.is_empty(), data.get(7)) {
        expressions.push(expression(Attributes(one), v6, depth + 1));
    }
    Some(Expression::Dynamic {
        set: data.text(1)?,
        operation: data.u32(3)?,
        key: register(data, 4)?,
        inverted: data.u32(9).unwrap_or(0) & 1 != 0,
        expressions,
    })
}
