//! The kernel's own description of its types: BTF, as `/sys/kernel/btf/vmlinux` has it (Documentation/bpf/btf.rst).
//!
//! A header, then types, each a head of twelve bytes with a trailer that its kind gives the length of, then their names.
//! A type's number is its place among them, from 1 on; 0 is `void`. Which types matter is not known here; the bytes are
//! the kernel's, but nothing relies on that.

/// `BTF_MAGIC`; the other byte order is another machine's.
const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// Magic, version, flags, the header's length, and where types and names are, from the header's end on.
const HEADER_BYTES: usize = 24;
/// Name, information, and a size or another type.
const HEAD_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
const PARAMETER_BYTES: usize = 8;
/// Far more than any kernel has (some 150,000).
const TYPES_MAX: usize = 1 << 22;
/// `typedef`, `const` and the like that stand one before the other.
const MODIFIERS_MAX: usize = 32;
/// Structures without a name inside of each other.
const DEPTH_MAX: u32 = 8;
/// Members looked at in a search; the largest structures have some hundreds.
const MEMBERS_MAX: u32 = 1 << 16;

/// Kinds (linux/btf.h).
const INT: u8 = 1;
const PTR: u8 = 2;
const ARRAY: u8 = 3;
const STRUCT: u8 = 4;
const UNION: u8 = 5;
const ENUM: u8 = 6;
const FWD: u8 = 7;
const TYPEDEF: u8 = 8;
const VOLATILE: u8 = 9;
const CONST: u8 = 10;
const RESTRICT: u8 = 11;
const FUNC: u8 = 12;
const FUNC_PROTO: u8 = 13;
const VAR: u8 = 14;
const DATASEC: u8 = 15;
const FLOAT: u8 = 16;
const DECL_TAG: u8 = 17;
const TYPE_TAG: u8 = 18;
const ENUM64: u8 = 19;

/// All types of a kernel.
#[derive(Debug)]
pub struct Types<'a> {
    types: &'a [u8],
    names: &'a [u8],
    /// Where each type begins, by number less one.
    places: Vec<u32>,
}

/// The number of a type.
pub type Id = u32;

/// A member of a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// In bytes, from the beginning of the structure that was asked.
    pub offset: u32,
    pub kind: Id,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    name: u32,
    kind: u8,
    /// How many members, parameters or values follow.
    count: usize,
    /// Of a structure: its members' offsets hold a width in bits, too.
    flag: bool,
    /// A size or a type, as the kind says.
    value: u32,
    trailer: usize,
}

impl Head {
    /// `None`: a kind that is not known here, whose length is therefore unknown.
    fn trailer_bytes(kind: u8, count: usize) -> Option<usize> {
        match kind {
            PTR | FWD | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNC | FLOAT | TYPE_TAG => Some(0),
            INT | VAR | DECL_TAG => Some(4),
            ARRAY => Some(12),
            STRUCT | UNION | DATASEC | ENUM64 => Some(count * 12),
            ENUM | FUNC_PROTO => Some(count * 8),
            _ => None,
        }
    }
}

impl<'a> Types<'a> {
    /// Finds where each type begins. `None`: this is not BTF of this machine's byte order.
    ///
    /// Types behind one of an unknown kind cannot be found; they count as not there.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        if half(bytes, 0)? != MAGIC || *bytes.get(2)? != VERSION {
            return None;
        }
        let header = word(bytes, 4)? as usize;
        if header < HEADER_BYTES {
            return None;
        }
        let part = |place: usize| {
            let begin = header.checked_add(word(bytes, place)? as usize)?;
            bytes.get(begin..begin.checked_add(word(bytes, place + 4)? as usize)?)
        };
        let mut all = Types { types: part(8)?, names: part(16)?, places: Vec::new() };
        // The mean type takes eighteen bytes.
        all.places.reserve(all.types.len() / 16);
        let mut place = 0;
        while all.places.len() < TYPES_MAX
            && let Some(head) = all.head_at(place)
            && let Some(trailer) = Head::trailer_bytes(head.kind, head.count)
        {
            all.places.push(u32::try_from(place).ok()?);
            place = head.trailer.checked_add(trailer)?;
        }
        Some(all)
    }

    fn head_at(&self, place: usize) -> Option<Head> {
        let head = self.types.get(place..place.checked_add(HEAD_BYTES)?)?;
        let information = word(head, 4)?;
        Some(Head {
            name: word(head, 0)?,
            // A bit beyond those that mean something today changes what the others mean.
            kind: if information & 0x60ff_0000 == 0 { (information >> 24 & 0x1f) as u8 } else { u8::MAX },
            count: (information & 0xffff) as usize,
            flag: information >> 31 != 0,
            value: word(head, 8)?,
            trailer: place + HEAD_BYTES,
        })
    }

    fn head(&self, id: Id) -> Option<Head> {
        self.head_at(*self.places.get((id as usize).checked_sub(1)?)? as usize)
    }

    /// Whether this is what stands at that place among the names.
    fn is_named(&self, place: u32, name: &str) -> bool {
        let rest = self.names.get(place as usize..).and_then(|rest| rest.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The head of what is behind `typedef`, `const` and the like.
    fn plain(&self, mut id: Id) -> Option<(Id, Head)> {
        for _ in 0..MODIFIERS_MAX {
            let head = self.head(id)?;
            match head.kind {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = head.value,
                _ => return Some((id, head)),
            }
        }
        None
    }

    /// The function of this name.
    pub fn function(&self, name: &str) -> Option<Id> {
        let is_it = |place: &u32| {
            self.head_at(*place as usize).is_some_and(|head| head.kind == FUNC && self.is_named(head.name, name))
        };
        Id::try_from(self.places.iter().position(is_it)? + 1).ok()
    }

    /// The type of a function's parameter, counted from 0.
    pub fn parameter(&self, function: Id, number: usize) -> Option<Id> {
        let (_, prototype) = self.plain(self.head(function).filter(|head| head.kind == FUNC)?.value)?;
        if prototype.kind != FUNC_PROTO || number >= prototype.count {
            return None;
        }
        word(self.types, prototype.trailer + number * PARAMETER_BYTES + 4)
    }

    /// The type behind a pointer.
    pub fn pointee(&self, pointer: Id) -> Option<Id> {
        let (_, head) = self.plain(pointer)?;
        let (id, _) = self.plain(if head.kind == PTR { head.value } else { return None })?;
        Some(id)
    }

    /// The type of an array's elements.
    pub fn element(&self, array: Id) -> Option<Id> {
        let (_, head) = self.plain(array)?;
        let (id, _) = self.plain(if head.kind == ARRAY { word(self.types, head.trailer)? } else { return None })?;
        Some(id)
    }

    /// The bytes that an integer or a structure takes.
    pub fn bytes(&self, id: Id) -> Option<u32> {
        let (_, head) = self.plain(id)?;
        matches!(head.kind, INT | STRUCT | UNION).then_some(head.value)
    }

    /// A member of a structure or union by its name, also within those of its members that have none. One that is a part
    /// of a byte is not found.
    pub fn member(&self, structure: Id, name: &str) -> Option<Member> {
        self.member_below(structure, name, DEPTH_MAX, &mut MEMBERS_MAX.clone())
    }

    fn member_below(&self, structure: Id, name: &str, depth: u32, left: &mut u32) -> Option<Member> {
        let (_, head) = self.plain(structure)?;
        if !matches!(head.kind, STRUCT | UNION) {
            return None;
        }
        for number in 0..head.count {
            *left = left.checked_sub(1)?;
            let place = head.trailer + number * MEMBER_BYTES;
            let own_name = word(self.types, place)?;
            let kind = word(self.types, place + 4)?;
            let mut bits = word(self.types, place + 8)?;
            let mut width = 0;
            if head.flag {
                (width, bits) = (bits >> 24, bits & 0x00ff_ffff);
            }
            if self.is_named(own_name, name) {
                return (width == 0 && bits.is_multiple_of(8)).then_some(Member { offset: bits / 8, kind });
            }
            if self.is_named(own_name, "")
                && let Some(depth) = depth.checked_sub(1)
                && let Some(inner) = self.member_below(kind, name, depth, left)
            {
                return Some(Member { offset: inner.offset.checked_add(bits / 8)?, ..inner });
            }
        }
        None
    }
}

fn half(bytes: &[u8], place: usize) -> Option<u16> {
    bytes.get(place..place.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

fn word(bytes: &[u8], place: usize) -> Option<u32> {
    bytes.get(place..place.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}
