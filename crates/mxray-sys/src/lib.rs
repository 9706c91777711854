//! The few system calls that std does not offer, as small safe functions: netlink, namespaces, capabilities,
//! error queues, BPF iterators.
//!
//! The only room for `unsafe`: rustix and nix have safe calls for all of it but two, which stand in `clock.rs` and `bpf.rs`,
//! one block each, with their reasons.
//! What must not live here: any meaning of the bytes (that is `mxray-host`) and any policy about what to do when a call fails.

pub mod bpf;
pub mod capability;
pub mod clock;
pub mod descriptors;
pub mod errors;
pub mod namespace;
pub mod netlink;
