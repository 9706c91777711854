//! The few system calls that std does not offer, as small safe functions: netlink, namespaces, capabilities.
//!
//! Were `unsafe` ever needed, this is its only room; rustix has safe calls for all of it, so there is none. What must
//! not live here: any meaning of the bytes (that is `mxray-host`) and any policy about what to do when a call fails.

pub mod capability;
pub mod namespace;
pub mod netlink;
