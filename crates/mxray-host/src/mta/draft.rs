//! What our readers make of a piece of configuration that stands in no file: lines that are proposed to somebody are read back
//! before they are trusted. Pure: nothing of this machine is looked at.

use super::machine::Machine;
use super::{dovecot, exim, opensmtpd, postfix, sendmail};
use mxray_model::Seen;
use mxray_model::evidence::Server;

/// The server that `text` alone would make. `None`: mxray does not read this software's configuration.
///
/// Of Postfix it is a master.cf, of the others the main file. What was not understood stands among the problems.
pub fn draft(software: &str, text: &str) -> Option<Server> {
    let loopback = ["127.0.0.1", "::1"].iter().filter_map(|text| text.parse().ok()).collect();
    let machine = Machine {
        host_name: "localhost".to_owned(),
        addresses: Seen::Value(loopback),
        ipv6: true,
        ..Machine::default()
    };
    match software {
        "postfix" => Some(postfix::draft(text, &machine)),
        "dovecot" => Some(dovecot::draft(text, &machine)),
        "exim" => Some(exim::draft(text, &machine)),
        "opensmtpd" => Some(opensmtpd::draft(text, &machine)),
        "sendmail" => Some(sendmail::draft(text, &machine)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_finds_the_listener_of_its_own_notation() {
        for (software, text) in [
            ("postfix", "127.0.0.1:2525 inet n - n - - smtpd\n"),
            (
                "dovecot",
                "service imap-login {\n  inet_listener own {\n    address = 127.0.0.1\n    port = 2525\n  }\n}\n",
            ),
            ("exim", "local_interfaces = 127.0.0.1.2525\n"),
            ("opensmtpd", "listen on 127.0.0.1 port 2525\n"),
            ("sendmail", "O DaemonPortOptions=Name=own, Port=2525, Addr=127.0.0.1\n"),
        ] {
            let server = draft(software, text).unwrap();
            let own = server.wanted.values().find(|listener| listener.port == 2525);
            let addresses = own.map(|listener| listener.addresses.clone());
            assert_eq!(addresses, Some(vec!["127.0.0.1".parse().unwrap()]), "{software}: {server:?}");
        }
        assert!(draft("haproxy", "").is_none());
    }
}
