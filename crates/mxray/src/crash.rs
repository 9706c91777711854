//! What is said when mxray itself breaks. A part of an examination that crashes is caught by the engine and becomes a
//! finding; the words here fit both cases.

use crate::output::say;
use mxray_model::text::untrusted;

/// Replaces Rust's own message, which tells a mail administrator nothing.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        say(&format!(
            "mxray: a part of mxray crashed: {} ({place}, version {}).\n\
             This is a fault in mxray, not in your mail server; nothing on this machine was changed. Please report it with\n\
             the command that you ran and the two lines above.",
            untrusted(what.as_bytes()),
            env!("CARGO_PKG_VERSION"),
        ));
    }));
}
