//! DMARC (RFC 9989, RFC 9990), and beside it what receivers of RFC 7489 do: records read, the tree walked, alignment judged.
//!
//! Start reading at [`DmarcDiscoverer`] for a domain, at [`Dmarc`] for a message. What must not live here: SPF and DKIM, whose
//! results come in, and whether a policy is a good one (rules).

mod record;
mod suffix;
#[cfg(test)]
mod tests;
mod verdict;
mod walk;

pub use record::read as read_record;
pub(crate) use record::target;
pub use suffix::{LIST_DATE, registrable};
pub use verdict::{Dmarc, DmarcReports};
pub use walk::DmarcDiscoverer;
