//! DMARC (RFC 9989, RFC 9990): the record that applies to each of our domains, and where its reports go.

pub mod missing;
pub mod multiple;
pub mod no_rua;
pub mod policy_none;
pub mod rua_invalid;
pub mod rua_unauthorised;
pub mod subdomain_weaker;
pub mod syntax;
pub mod walk_differs;
