//! Access to mailboxes: IMAP, POP3, ManageSieve.

pub mod imap_clear_login;
pub mod pop3_clear_login;
pub mod sieve_clear_login;
