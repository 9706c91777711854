//! What the mail server's log says.

pub mod block_rate_high;
pub mod bounce_rate_high;
pub mod deferral_rate_high;
pub mod delay_high;
pub mod fatal_in_log;
pub mod log_not_understood;
pub mod login_attack;
pub mod outbound_account_abused;
pub mod receiver_says;
pub mod tls_failures;
