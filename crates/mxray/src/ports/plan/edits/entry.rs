//! The documentation's part: the entry of the assignments file, which `mxray ports audit` then holds the host to. Pure.

use super::{Edit, Part, Role};
use crate::ports::plan::wish::Wish;
use mxray_model::evidence::{Exposure, PortRange, TlsMode, V6Policy};

/// The edit. `range`: the port was chosen from it, and the entry keeps the range only as a remark: a chosen port is decided.
pub fn edit(wish: &Wish, role: Role, file: Option<&str>, range: Option<PortRange>) -> Edit {
    let mut edit = Edit::new(
        Part::Documentation,
        "mxray",
        "The entry of the assignments file; say what it is for, and whom to ask:",
    );
    edit.file = Some(file.unwrap_or("/etc/mxray/mxray-ports.toml").to_owned());
    if file.is_none() {
        edit.lines.push("version = 1".to_owned());
        edit.lines.push(String::new());
        edit.text =
            "There is no assignments file yet (`mxray ports init` writes one from what listens); its entry:".to_owned();
    }
    edit.lines.push("[[service]]".to_owned());
    let mut key = |name: &str, value: String| edit.lines.push(format!("{name} = {value}"));
    key("name", quoted(&wish.service));
    key("protocol", quoted(&wish.protocol));
    key("port", wish.port.to_string());
    if !wish.addresses.is_empty() {
        key("addresses", list(wish.addresses.iter().map(|address| address.to_canonical().to_string())));
    }
    match wish.v6 {
        V6Policy::Any => {}
        V6Policy::None => key("v6", quoted("none")),
        V6Policy::Dual => key("v6", quoted("dual")),
        V6Policy::Separate => key("v6", quoted("separate")),
    }
    key(
        "exposure",
        match &wish.exposure {
            Exposure::Loopback => quoted("loopback"),
            Exposure::Private => quoted("private"),
            Exposure::Public => quoted("public"),
            Exposure::Prefixes(prefixes) => list(prefixes.iter().cloned()),
        },
    );
    match role.tls() {
        TlsMode::None => {}
        TlsMode::Starttls => key("tls", quoted("starttls")),
        TlsMode::StarttlsRequired => key("tls", quoted("starttls-required")),
        TlsMode::Implicit => key("tls", quoted("implicit")),
    }
    let mut owner: Vec<String> = Vec::new();
    if let Some(unit) = &wish.starter.unit {
        owner.push(format!("unit = {}", quoted(unit)));
    }
    if !wish.starter.user.is_empty() && !wish.starter.assumed {
        owner.push(format!("user = {}", quoted(&wish.starter.user)));
    }
    if !owner.is_empty() {
        key("owner", format!("{{ {} }}", owner.join(", ")));
    }
    if let Some(range) = range {
        key("note", quoted(&format!("chosen from {} to {}", range.first, range.last)));
    }
    key("purpose", quoted(""));
    key("contact", quoted(""));
    edit.commands.push("mxray ports audit".to_owned());
    edit
}

/// A basic string of TOML. JSON's escapes are among TOML's; what steers a terminal was escaped when it was read.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(words: impl Iterator<Item = String>) -> String {
    format!("[{}]", words.map(|word| quoted(&word)).collect::<Vec<_>>().join(", "))
}
