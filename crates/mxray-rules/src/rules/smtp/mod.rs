//! SMTP sessions.

pub mod access_demanded;
pub mod ehlo_rejected;
pub mod greeting_bad;
pub mod greeting_slow;
pub mod greylisting;
pub mod null_sender_refused;
pub mod postmaster_refused;
pub mod replies_malformed;
pub mod starttls_stripped;
