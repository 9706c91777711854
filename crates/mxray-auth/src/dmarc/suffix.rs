//! The public suffix list, for receivers of RFC 7489 (its section 3.2). RFC 9989 does without.

use psl::Psl;

/// When the crate that carries the list was made.
pub const LIST_DATE: &str = "2026-11-05";

/// The registrable domain of a name: one label below its public suffix. `None`: the name is a suffix itself.
pub fn registrable(name: &str) -> Option<String> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let domain = psl::List.domain(name.as_bytes())?;
    std::str::from_utf8(domain.as_bytes()).ok().map(str::to_owned)
}
