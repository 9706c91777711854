//! The only room that opens outgoing connections: dialling, TLS, name lookups, and the drivers of `mxray-wire`'s machines.
//!
//! Everything here blocks, one thread a session, and every call that may wait takes the moment until which it may. What was
//! seen comes back as values of `mxray-model`; a peer that says no is evidence, never an error. Start reading at
//! [`dial`](dial()), then [`Stream`], then [`drive`](drive()).
//!
//! What must not live here: what a fact means (`mxray-rules`), protocol states (`mxray-wire`), listening (`mxray-serve`).

mod clock;
mod dial;
mod distance;
mod dns;
mod drive;
mod evaluate;
mod examine;
mod fetch;
mod lists;
mod random;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod user;

pub use clock::Clock;
pub use dial::{DialPlan, compare, dial, dial_unix};
pub use distance::{distance, explain};
pub use dns::{
    Answered, BadName, DnsQuestion, Memory, Resolver, Turns, check_resolver, reads_as_answer, reverse_name, servers_of,
    unicode_name, wire_name,
};
pub use drive::{Held, drive, drive_judging};
pub use evaluate::{Evaluated, Evaluations, side_by_side, side_by_side_named, why_no_answer};
pub use examine::{Beyond, Examination, Tools, examine};
pub use fetch::{Fetching, Page, reads_as_page};
pub use lists::{
    ClosedList, CodeRange, ListAnswers, ListCatalogue, ListCode, ListHealth, ListKind, ListName, ListRow, ListState,
    ListZone, Listable, ask_lists,
};
pub use random::token;
pub use stream::{Came, Stream};
pub use tls::{ClientIdentity, HelloTarget, Roots, TlsPlan, certificates_from, deep, hello, old_versions};
pub use user::{CALLED as HELPER_CALLED, Dialler, Helper, User, as_user, serve as serve_as_helper};
