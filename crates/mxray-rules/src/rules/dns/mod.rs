//! The DNS of a domain: its name, its servers, its records as such.

pub mod dangling_alias;
pub mod domain_nxdomain;
pub mod ns_lame;
pub mod txt_damaged;
pub mod wildcard_mail_name;
