//! What `probe`, `talk` and `send` have in common on the command line: targets, logins, who we say we are.
//!
//! What must not live here: connections (`mxray-net`), sessions (`mxray-wire`).

pub mod credentials;
pub mod names;
pub mod target;

/// The name that EHLO says: this host's own, where it has a full one, else its address literal's stand-in.
pub fn ehlo_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    if plain && name.contains('.') { name } else { "mxray.invalid".to_owned() }
}
