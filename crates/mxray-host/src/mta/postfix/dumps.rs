//! Whole pairs of main.cf and master.cf: our reading of the files against postconf's of the same files (`-n`, `-M`, `-P`, and
//! the full dump through the product's own way). Debian's defaults for each type of mailer, and what is odd and allowed.
//!
//! Test only. What is wrong in a configuration is not compared here: postconf stops at it, we go on and say so.

use super::interpret::SETTINGS;
use super::tests::{Scratch, machine, postconf_or_skip, programs, read_with, skipped};
use super::{main_cf, master_cf};
use master_cf::ProcessLimit;
use mxray_model::Seen;
use std::collections::BTreeMap;

const TEST: &str = "our_reading_of_whole_pairs_agrees_with_postconf";
const PACKAGE: &str = "/usr/share/postfix";

/// What Debian's postinst writes for each answer of main_mailer_type, behind the package's own main.cf.
const DEBIAN: [(&str, &str); 4] = [
    (
        "Internet Site",
        "mydestination = $myhostname, mx.example.org, localhost.example.org, localhost\nrelayhost = \n\
        inet_interfaces = all\nmyorigin = /etc/mailname\n",
    ),
    (
        "Internet with smarthost",
        "mydestination = $myhostname, mx.example.org, localhost.example.org, localhost\n\
        relayhost = smtp.example.net\ninet_interfaces = loopback-only\nmyorigin = /etc/mailname\n",
    ),
    (
        "Satellite system",
        "mydestination = $myhostname, mx.example.org, localhost.example.org, localhost\n\
        relayhost = [smtp.example.net]:587\ninet_interfaces = loopback-only\n",
    ),
    (
        "Local only",
        "mydestination = $myhostname, mx.example.org, localhost.example.org, localhost\nrelayhost = \n\
        inet_interfaces = loopback-only\ndefault_transport = error\nrelay_transport = error\n",
    ),
];
const DEBIAN_ALWAYS: &str = "myhostname = mx.example.org\nalias_maps = hash:/etc/aliases\nalias_database = hash:/etc/aliases\n\
    mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128\nmailbox_size_limit = 0\nrecipient_delimiter = +\n\
    inet_protocols = all\n";

/// Further main.cf: each has what one part of the syntax allows.
const MAINS: [(&str, &str); 20] = [
    (
        "continuation",
        "mydestination = $myhostname,\n  a.example.org,\n# a comment inside\n\n   # and one further in\n\tb.example.org\n",
    ),
    ("references", "own = $mydomain\nother = ${own}\nrelay_domains = $(other), $own\nmyorigin = $mydomain\n"),
    ("if set", "relayhost = [a.example]\nrelay_domains = ${relayhost?set.example} ${relayhost:unset.example}\n"),
    ("if set, braces", "relay_domains = ${relayhost?{a b}:{c, d}} ${nothing?{x}} ${nothing:{y}}\n"),
    ("comparison", "default_process_limit = ${{$compatibility_level} >=level {3.6} ? {77} : {33}}\n"),
    (
        "comparison of numbers",
        "default_process_limit = ${{100} > {20} ? {1} : {2}}\nmydestination = ${{a} != {b}?{x}:{y}}\n",
    ),
    ("nested", "one = ${two?{${three?{deep}:{shallow}}}}\ntwo = 2\nthree = 3\nrelay_domains = $one\n"),
    ("level 0", "compatibility_level = 0\n"),
    ("level 2", "compatibility_level = 2\n"),
    ("level 3.6", "compatibility_level = 3.6\n"),
    ("assigned twice", "relayhost = first.example\nmydestination = a\nrelayhost=second.example\n mail.example\n"),
    ("no blanks, many blanks", "relayhost=[x.example]:25\nmyorigin    =     $mydomain   \nmydestination=\n"),
    ("dollar signs", "smtpd_banner = $$5 $myhostname ESMTP ${mail_name}\nrelay_domains = a$$b\n"),
    (
        "IPv6 forms",
        "inet_interfaces = [::1], 127.0.0.1, 2001:db8::5\ninet_protocols = ipv6, ipv4\nrelayhost = [2001:db8::25]:587\n\
        smtp_bind_address6 = 2001:db8::5\nmynetworks = [::1]/128 [2001:db8::]/32 192.0.2.0/24\n",
    ),
    (
        "files in lists",
        "mydestination = /etc/postfix/networks, $myhostname, hash:/etc/postfix/d\nmynetworks = 127.0.0.0/8, !10.1.1.1, 10.0.0.0/8\n",
    ),
    (
        "braces in lists",
        "smtpd_recipient_restrictions = permit_mynetworks,\n  check_policy_service { inet:127.0.0.1:10023,\n    timeout=3s, default_action=DUNNO }, reject\n",
    ),
    (
        "several instances",
        "multi_instance_enable = yes\nmulti_instance_name = postfix-out\nmulti_instance_group = mta\nmaster_service_disable = inet\n",
    ),
    (
        "postscreen",
        "postscreen_greet_action = enforce\npostscreen_upstream_proxy_protocol = haproxy\nsmtpd_upstream_proxy_protocol =\n",
    ),
    (
        "own settings of a service",
        "mua_client_restrictions = permit_sasl_authenticated, reject\nsubmission_smtpd_milters = inet:127.0.0.1:8891\n\
        smtpd_milters = $submission_smtpd_milters\nsmtpd_client_restrictions = $mua_client_restrictions\n",
    ),
    (
        "comments in odd places",
        "#relayhost = no.example\n   \n\t\n# x\nrelayhost = yes.example # no comment\nmydestination = a\n#b\n  c\n",
    ),
];

/// Services behind Debian's: columns, overrides, duplicates.
/// Text attached to `-o` has no second `o` here: postconf 3.7 takes that for a further option, getopt(3) in the daemons does not.
const MASTERS: [&str; 7] = [
    "",
    "submission inet n - y - - smtpd\n  -o syslog_name=postfix/submission\n  -o smtpd_tls_security_level=encrypt\n# -o not=this\n  -o smtpd_sasl_auth_enable=yes\n",
    "smtps inet n - n - 30 smtpd -o { smtpd_client_restrictions = permit_sasl_authenticated, reject }  -o {smtpd_milters=inet:a:1,  inet:b:2}\n",
    "smtp inet n - y - 1 postscreen\nsmtpd pass - - y - - smtpd\ndnsblog unix - - y - 0 dnsblog\ntlsproxy unix - - y - 0 tlsproxy\n",
    "[::1]:2525 inet n - - - - smtpd -v -o smtpd_banner=$myhostname\n127.0.0.1:10025 inet n - n - 0 smtpd\n    -o content_filter=\n    -o mynetworks=127.0.0.0/8\n",
    "out unix - - y - - smtp -vo smtp_bind_address=192.0.2.9 -vvo smtp_helo_name=a -o smtp_helo_name=${myhostname}\nsubmission inet n n y 60? 5 smtpd -osmtpd_tls_security_level=may\n",
    "submission inet n - y - - smtpd -o smtpd_sasl_auth_enable=no\nsubmission inet n - n - 9 smtpd -o smtpd_sasl_type=cyrus\n\
        filter unix - n n - 10 pipe\n  flags=Rq user=nobody null_sender=\n  argv=/bin/f -o foreign=option -- ${recipient}\n",
];

struct Pair {
    name: String,
    main: String,
    master: String,
}

/// `None`: the package is not here.
fn pairs() -> Option<Vec<Pair>> {
    let of = |name: &str| std::fs::read_to_string(format!("{PACKAGE}/{name}"));
    let (Ok(main), Ok(tls), Ok(master)) = (of("main.cf.debian"), of("main.cf.tls"), of("master.cf.dist")) else {
        return None;
    };
    let debian = DEBIAN.iter().map(|(name, lines)| (*name, format!("{main}{tls}{DEBIAN_ALWAYS}{lines}")));
    let odd = MAINS.iter().map(|(name, lines)| {
        let always = "myhostname = mx.example.org\nmynetworks = 127.0.0.0/8\n";
        (*name, format!("{always}{lines}"))
    });
    let all = debian.chain(odd).enumerate().map(|(place, (name, main))| {
        let extra = MASTERS[place % MASTERS.len()];
        Pair { name: name.to_owned(), main, master: format!("{master}\n{extra}") }
    });
    Some(all.collect())
}

/// `name = value` lines; blanks in a row count as one, for postconf prints them so.
fn lines(output: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(output).into_owned();
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            (name.trim().to_owned(), squeezed(value))
        })
        .collect()
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn our_reading_of_whole_pairs_agrees_with_postconf() {
    let Some(postconf) = postconf_or_skip(TEST) else { return };
    let Some(pairs) = pairs() else {
        skipped::<()>(TEST, &format!("{PACKAGE} has no templates of Debian's package"));
        return;
    };
    assert!(pairs.len() >= 20);
    let scratch = Scratch::new("pairs");
    let dir = scratch.dir("");
    for pair in pairs {
        scratch.write("main.cf", pair.main.as_bytes());
        scratch.write("master.cf", pair.master.as_bytes());
        let listed = |option: &str| match postconf.listed(&programs(), &dir, option) {
            Seen::Value(output) => output,
            other => panic!("{}: postconf {option}: {other:?}", pair.name),
        };
        assignments(&pair, &lines(&listed("-n")));
        let master = master_cf::parse(pair.master.as_bytes());
        assert_eq!(master.troubles, [], "{}", pair.name);
        columns(&pair, &master, &String::from_utf8_lossy(&listed("-M")));
        overrides(&pair, &master, &lines(&listed("-P")));
        let dump = postconf.values(&programs(), &dir);
        assert!(dump.value().is_some(), "{}: {dump:?}", pair.name);
        let asked = read_with(&pair.main, &pair.master, dump, &machine());
        let read = read_with(&pair.main, &pair.master, Seen::not_attempted("test"), &machine());
        for name in SETTINGS {
            assert_eq!(read.settings.get(*name), asked.settings.get(*name), "{name} of {}", pair.name);
        }
        assert_eq!(read.wanted, asked.wanted, "{}", pair.name);
        assert_eq!(read.helpers, asked.helpers, "{}", pair.name);
    }
}

/// `postconf -n`: what is set in main.cf and means something to this version.
fn assignments(pair: &Pair, theirs: &[(String, String)]) {
    let main = main_cf::parse(pair.main.as_bytes());
    assert_eq!(main.troubles, [], "{}", pair.name);
    // Where it was told to look, and no line of the file.
    for (name, value) in theirs.iter().filter(|(name, _)| name != "config_directory") {
        let ours = main.values.get(name).map(|assignment| squeezed(&assignment.value));
        assert_eq!(ours.as_ref(), Some(value), "{name} of {}", pair.name);
    }
    assert!(!theirs.is_empty(), "{}", pair.name);
}

/// `postconf -M`: every service with its columns. Of two with one name and type, the last one holds for us.
fn columns(pair: &Pair, master: &master_cf::MasterCf, theirs: &str) {
    let mut last: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for line in theirs.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        last.insert(format!("{}/{}", words[0], words[1]), words);
    }
    let ours: Vec<&String> = master.services.keys().collect();
    assert_eq!(ours, last.keys().collect::<Vec<_>>(), "{}", pair.name);
    for (key, words) in last {
        let service = &master.services[&key];
        let flag = |text: &str| match text {
            "y" => Some(true),
            "n" => Some(false),
            _ => None,
        };
        assert_eq!(service.private, flag(words[2]).unwrap_or(true), "{key} of {}", pair.name);
        assert_eq!(service.chroot, flag(words[4]), "{key} of {}", pair.name);
        let processes = match words[6] {
            "-" => ProcessLimit::Default,
            "0" => ProcessLimit::None,
            most => ProcessLimit::At(most.parse().unwrap()),
        };
        assert_eq!(service.processes, processes, "{key} of {}", pair.name);
        assert_eq!(service.command, words[7], "{key} of {}", pair.name);
    }
}

/// `postconf -P`: `service/type/parameter = value` of every `-o`. Two services of one name and type are shown as one there.
fn overrides(pair: &Pair, master: &master_cf::MasterCf, theirs: &[(String, String)]) {
    let is_single = |key: &str| {
        let entries = pair.master.lines().filter(|line| {
            let mut words = line.split_whitespace();
            !line.starts_with([' ', '\t', '#'])
                && format!("{}/{}", words.next().unwrap_or(""), words.next().unwrap_or("")) == key
        });
        entries.count() == 1
    };
    let theirs: BTreeMap<&str, &str> = theirs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let ours: BTreeMap<String, String> = master
        .services
        .iter()
        .flat_map(|(key, service)| service.overrides.iter().map(move |(name, value)| (key, name, value)))
        .map(|(key, name, value)| (format!("{key}/{name}"), squeezed(value)))
        .collect();
    let service_of = |name: &str| name.rsplit_once('/').map_or(String::new(), |(key, _)| key.to_owned());
    let single = |name: &&str| is_single(&service_of(name));
    let theirs: BTreeMap<&str, &str> = theirs.into_iter().filter(|(name, _)| single(name)).collect();
    let ours: BTreeMap<&str, &str> =
        ours.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(|(name, _)| single(name)).collect();
    assert_eq!(ours, theirs, "{}", pair.name);
}
