//! Listeners, sockets, processes.

pub mod accept_queue_overflow;
pub mod connection_flood;
pub mod connection_spike;
pub mod descriptor_limit_near;
pub mod ephemeral_ports_exhausted;
pub mod helper_service_down;
pub mod listener_family_missing;
pub mod listener_loopback_only;
pub mod listener_missing;
pub mod listener_unexpected;
pub mod service_not_answering;
pub mod service_not_running;
pub mod service_process_limit;
pub mod sockets_leaking;
pub mod syn_queue_overflow;
