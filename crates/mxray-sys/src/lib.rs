//! The few system calls that std does not offer, as small safe functions: netlink, namespaces, capabilities,
//! error queues.
//!
//! The only room for `unsafe`: rustix and nix have safe calls for all of it but one, which stands in `clock.rs` with its
//! reason.
//! What must not live here: any meaning of the bytes (that is `mxray-host`) and any policy about what to do when a call fails.

pub mod capability;
pub mod clock;
pub mod descriptors;
pub mod errors;
pub mod namespace;
pub mod netlink;
