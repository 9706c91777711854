//! The hosts that take a domain's mail.

pub mod family_broken;
pub mod is_address;
pub mod is_alias;
pub mod missing_implicit;
pub mod no_address;
pub mod no_mail_target;
pub mod null_mx;
pub mod null_mx_bad_preference;
pub mod null_mx_but_sending;
pub mod null_mx_not_alone;
pub mod special_address;
pub mod unreachable;
