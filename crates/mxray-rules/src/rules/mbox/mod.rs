//! Access to mailboxes: IMAP, POP3, ManageSieve.

pub mod greeting_bad;
pub mod imap_clear_login;
pub mod pop3_clear_login;
pub mod sieve_clear_login;
pub mod srv_missing;
pub mod srv_wrong;
