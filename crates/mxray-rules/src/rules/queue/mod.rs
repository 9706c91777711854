//! What waits in the mail server's queue.

pub mod queue_growing;
pub mod queue_held;
pub mod queue_stuck;
