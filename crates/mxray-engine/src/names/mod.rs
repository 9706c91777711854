//! What names say: the domains, sending addresses and lists of an examination, asked side by side through the evaluators.
//!
//! Here lives which domains and addresses are looked at and in which order; each module below fills its own fields of
//! [`Domain`] or [`SenderAddress`](mxray_model::evidence::published::SenderAddress). What must not live here: what a record
//! means (`mxray-auth`), how a question is asked (`mxray-net`), and whether an answer is well (rules).

mod authentication;
mod dane;
mod identity;
mod listings;
mod route;
mod transport;
mod zone;

use mxray_model::evidence::Evidence;
use mxray_net::Evaluations;

/// What every part of it needs.
pub(crate) struct Context<'a> {
    pub run: &'a Evaluations,
    /// What is known so far of this host: servers, signers, routes, sessions.
    pub evidence: &'a Evidence,
    /// Selectors that the operator named.
    pub selectors: &'a [String],
}
