//! The file's own mistakes, each with its message, and a file without any.

use super::{find, parse};
use crate::config::Config;
use crate::config::complaint::worded;
use mxray_model::evidence::{Exposure, V6Policy};
use std::path::Path;

const GOOD: &str = r#"
version = 1

[[service]]
name = "smtp"
port = 25
addresses = ["0.0.0.0", "[::]"]
v6 = "separate"
exposure = "public"
tls = "starttls"
owner = { unit = "postfix@-.service", user = "root", package = "postfix" }
purpose = "mail from other servers"
contact = "postmaster@example.org"

[[service]]
name = "re-injection"
port = 10025
addresses = ["127.0.0.1"]
exposure = "loopback"

[[service]]
name = "second smtp"
port = 25
addresses = ["192.0.2.7"]
exposure = ["198.51.100.0/24"]
# Commented out, so that it does not overlap.
"#;

/// One of each, or more.
const MISTAKES: &str = r#"version = 1
wersion = 2

[[service]]
nmae = "x"
port = 0
exposure = "publik"

[[service]]
name = "a"
port = 70000
exposure = ["10.1.2.3/8"]

[[service]]
name = "b"
dynamic = "300-200"
addresses = ["192.0.2.0/24", 5]
exposure = "public"

[[service]]
name = "c"
port = 25
v6 = "none"
addresses = ["::"]
exposure = "public"

[[service]]
name = "d"
port = 25
exposure = "public"
owner = "root"

[[service]]
name = "e"
port = 993
exposure = "public"
tls = "starttls"

[[service]]
name = "e"
port = 994
exposure = []

[[service]]
name = "f"
port = 993
addresses = ["192.0.2.1"]
exposure = "public"
dynamic = "1-2"

[[service]]
name = "g"
port = 993
addresses = ["192.0.2.1"]
exposure = "public"

[[forbidden]]
port = 993

[[forbidden]]
port = 993
protocol = "sctp"

[[forbidden]]
reason = 5
"#;

fn complaints(text: &str) -> String {
    worded(&parse(Path::new("/etc/mxray/mxray-ports.toml"), text).1, false)
}

#[test]
fn a_file_says_what_it_says() {
    let text = GOOD.replace("port = 25\naddresses = [\"192.0.2.7\"]", "port = 2525\naddresses = [\"192.0.2.7\"]");
    let (found, complaints) = parse(Path::new("f"), &text);
    assert!(complaints.is_empty(), "{complaints:?}");
    let smtp = &found.services["smtp"];
    assert_eq!((smtp.ports, smtp.v6, &smtp.exposure), ((25, 25), V6Policy::Separate, &Exposure::Public));
    assert_eq!((smtp.at.line, smtp.owner.unit.as_str()), (4, "postfix@-.service"));
    assert_eq!(found.services["second smtp"].exposure, Exposure::Prefixes(vec!["198.51.100.0/24".to_owned()]));
    assert_eq!(found.services["re-injection"].protocol, "tcp");
}

#[test]
fn every_mistake_has_its_message_and_its_line() {
    let said = complaints(MISTAKES);
    for (place, words) in [
        (":2:1:", "unknown key `wersion` in this file"),
        (":5:1:", "unknown key `nmae` in a [[service]]"),
        (":4:1:", "an entry without `name`"),
        (":6:8:", "0 is no port: they go from 1 to 65535"),
        (":7:12:", "\"publik\" is not one of loopback, private, public"),
        (":11:8:", "70000 is no port"),
        (":12:13:", "bits are set behind the prefix; write 10.0.0.0/8"),
        (":16:11:", "the range ends before it begins: 300 to 200"),
        (":17:14:", "\"192.0.2.0/24\" is not an address"),
        (":24:13:", ":: is of IPv6, and v6 = \"none\""),
        (":31:9:", "`owner` is a table of unit, user and package"),
        (":42:12:", "an empty list of prefixes"),
        (":49:11:", "both `port` and `dynamic`"),
        (":51:1:", "`g` overlaps with `e` on tcp 993"),
        (":57:1:", "tcp 993 is forbidden, and assigned to `e` (line 33)"),
        (":62:12:", "\"sctp\" is not one of tcp, udp"),
        (":65:10:", "a string is wanted, not integer"),
    ] {
        assert!(said.contains(&format!("{place} {words}")), "{place} {words}\n\n{said}");
    }
    for help in ["did you mean `version`?", "did you mean `name`?", "did you mean \"public\"?"] {
        assert!(said.contains(help), "{help}\n\n{said}");
    }
    assert!(said.contains("6 | port = 0"), "the line itself is shown: {said}");
}

#[test]
fn a_second_entry_of_one_name_or_port_is_a_mistake() {
    let twice = format!("{GOOD}[[service]]\nname = \"smtp\"\nport = 26\nexposure = \"public\"\n");
    assert!(complaints(&twice).contains("a second service of the name `smtp`"), "{}", complaints(&twice));
    // The kernel refuses an address beside the wildcard.
    assert!(complaints(GOOD).contains("`second smtp` overlaps with `smtp` on tcp 25"), "{}", complaints(GOOD));
    let forbidden = "version = 1\n[[forbidden]]\nport = 110\n[[forbidden]]\nport = 110\n";
    assert!(complaints(forbidden).contains(":4:1: tcp 110 is forbidden twice"), "{}", complaints(forbidden));
}

#[test]
fn families_and_loopback_may_stand_side_by_side() {
    let side_by_side = r#"version = 1
service = [
  { name = "four", port = 25, addresses = ["0.0.0.0"], exposure = "public" },
  { name = "six", port = 25, addresses = ["::"], v6 = "separate", exposure = "public" },
  { name = "datagrams", port = 25, protocol = "udp", exposure = "public" },
  { name = "one", dynamic = "20000-20009", exposure = "private" },
  { name = "other", dynamic = "20005-20019", exposure = "private" },
  { name = "filter", port = 11332, addresses = ["127.0.0.1"], exposure = "loopback" },
]
forbidden = [{ port = 11332, except = "loopback" }, { port = 20001 }]
"#;
    assert_eq!(complaints(side_by_side), "");
    let fixed = side_by_side.replace("name = \"filter\", port = 11332", "name = \"filter\", port = 20003");
    assert!(complaints(&fixed).contains("overlaps with `one` on tcp 20003"), "{}", complaints(&fixed));
    let public = side_by_side.replace("exposure = \"loopback\"", "exposure = \"public\"");
    assert!(
        complaints(&public).contains("tcp 11332 is forbidden, and assigned to `filter`"),
        "{}",
        complaints(&public)
    );
}

#[test]
fn an_unknown_version_is_told_alone() {
    let said = complaints("version = 2\n[[service]]\nwhatever = 1\n");
    assert!(said.contains(":1:11: version 2 is not known") && !said.contains("whatever"), "{said}");
    assert!(complaints("[[service]]\nname = \"x\"\nport = 1\nexposure = \"public\"\n").contains("no `version`"));
    assert!(complaints("version = \"1\"\n").contains("a whole number is wanted, not string"));
    assert!(complaints("version = 1\nservice = 5\n").contains("`service` is a list of tables, not integer"));
    assert!(complaints("version = 1\n[service]\nport = 5\n").contains("write [[service]] above each entry"));
    assert!(!complaints("version = 1\nservice = [\n").is_empty());
}

#[test]
fn nothing_steers_the_terminal() {
    let said = complaints(
        "version = 1\n\"\\u001b[2J\" = 1\n[[service]]\nname = \"\u{9b}31m\"\nport = 25\nexposure = \"\u{1b}\"\n",
    );
    assert!(!said.contains(|c: char| c != '\n' && mxray_model::text::is_steering(c)), "{said:?}");
}

#[test]
fn a_file_that_was_named_and_is_not_there_is_a_mistake() {
    let nowhere = Path::new("/nonexistent/mxray-ports.toml");
    assert!(
        matches!(find(Some(nowhere), &Config::default(), false), super::Found::Wrong(complaints) if complaints.len() == 1)
    );
}
