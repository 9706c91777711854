//! Our reading of the files against Exim's own, on Debian's configurations and on generated ones.
//!
//! The real Exim is unpacked from its packages and run in a mount namespace of its own, where its user exists. Without
//! root, without the packages and without a mirror to get them from, the test says that it was skipped.

use super::interpret::{Input, OPTIONS, server};
use super::{DEBIAN, binary, facts, sections, text};
use crate::mta::machine::Machine;
use crate::read;
use mxray_model::Seen;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: [&str; 4] = ["exim4-base", "exim4-config", "exim4-daemon-light", "libidn12"];
const CONFIGURATIONS_MIN: usize = 20;

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Only what this test made.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `$LAB_CACHE`, else where the lab keeps packages.
fn cache() -> PathBuf {
    let target = || {
        std::env::var_os("CARGO_TARGET_DIR")
            .map(PathBuf::from)
            .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"))
    };
    std::env::var_os("LAB_CACHE").map_or_else(|| target().join("lab-packages"), PathBuf::from)
}

fn package(name: &str, directory: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path());
    files.into_iter().find(|path| {
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        file.strip_prefix(name).is_some_and(|rest| rest.starts_with('_') && rest.ends_with(".deb"))
    })
}

/// Unpacks Exim below `root`.
fn unpack(scratch: &Path) -> Result<(), String> {
    for name in PACKAGES {
        let file = match package(name, &cache()) {
            Some(file) => file,
            None => {
                let mut download = Command::new("apt-get");
                download.args(["-qq", "-o", "APT::Sandbox::User=root", "download", name]).current_dir(scratch);
                let done = download.output().map_err(|error| format!("apt-get: {error}"))?;
                let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
                package(name, scratch).ok_or(format!("the package {name} cannot be downloaded: {said}"))?
            }
        };
        let done = Command::new("dpkg-deb").arg("-x").arg(&file).arg(scratch.join("root")).status();
        if !done.is_ok_and(|status| status.success()) {
            return Err(format!("dpkg-deb cannot unpack {}", file.display()));
        }
    }
    // Programs that change the user take no LD_LIBRARY_PATH; for -bP no other user is needed.
    fs::set_permissions(scratch.join("root/usr/sbin/exim4"), fs::Permissions::from_mode(0o755))
        .map_err(|error| error.to_string())
}

/// An /etc in which Exim's user and Debian's answers stand, over this system's own.
fn etc(scratch: &Path) {
    let etc = scratch.join("etc");
    fs::create_dir_all(&etc).unwrap();
    for (file, line) in
        [("passwd", "Debian-exim:x:64321:64321::/var/spool/exim4:/bin/false\n"), ("group", "Debian-exim:x:64321:\n")]
    {
        let mut all: String = fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default();
        all.push_str(line);
        fs::write(etc.join(file), all).unwrap();
    }
    fs::write(etc.join("mailname"), "mail.harbour.example\n").unwrap();
    fs::create_dir_all(scratch.join("work")).unwrap();
}

/// Runs a script where `$1` is the scratch directory and Exim can be run.
fn inside(scratch: &Path, script: &str, argument: &str) -> Result<Vec<u8>, String> {
    let text = format!(
        "set -e; mount -t overlay overlay -o lowerdir=\"$1/etc:/etc\" /etc\n\
         for own in /var/spool /var/log; do mount -t tmpfs own \"$own\"; done\n\
         export LD_LIBRARY_PATH=\"$(dirname \"$(find \"$1/root\" -name 'libidn.so.12' | head -n 1)\")\" LC_ALL=C\n{script}"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &text, "inside"]).arg(scratch).arg(argument);
    let done = command.output().map_err(|error| format!("unshare: {error}"))?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    Err(String::from_utf8_lossy(&done.stderr).trim().to_owned())
}

/// Debian's own for each answer to its main question, in one file and split.
fn debians(scratch: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for kind in ["internet", "smarthost", "satellite", "local", "none"] {
        for split in ["true", "false"] {
            let directory = scratch.join(format!("debian-{kind}-{split}"));
            let copied = Command::new("cp").arg("-r").arg(scratch.join("root/etc/exim4")).arg(&directory).status();
            assert!(copied.is_ok_and(|status| status.success()));
            let answers = format!(
                "dc_eximconfig_configtype='{kind}'\ndc_other_hostnames='harbour.example;quay.example'\n\
                 dc_local_interfaces='127.0.0.1 ; ::1'\ndc_readhost='read.example'\ndc_relay_domains='relayed.example'\n\
                 dc_minimaldns='false'\ndc_relay_nets='192.0.2.0/24 ; 2001:db8::/32'\ndc_smarthost='smart.example::587'\n\
                 dc_use_split_config='{split}'\ndc_hide_mailname='true'\ndc_localdelivery='maildir_home'\n"
            );
            fs::write(directory.join("update-exim4.conf.conf"), answers).unwrap();
            let file = scratch.join(format!("debian-{kind}-{split}.conf"));
            let made = inside(
                scratch,
                "sh \"$1/root/usr/sbin/update-exim4.conf\" -d \"$1/$2\" -o \"$1/$2.conf\" && chmod 644 \"$1/$2.conf\"",
                &format!("debian-{kind}-{split}"),
            );
            made.unwrap_or_else(|error| panic!("update-exim4.conf for {kind}: {error}"));
            found.push((format!("Debian's {kind}, split: {split}"), file));
        }
    }
    found
}

/// One thing of the syntax each.
const WRITTEN: &[(&str, &str)] = &[
    (
        "macros",
        "PORTS = 25\nALL = PORTS : 587\ndaemon_smtp_ports = ALL\nALL == ALL : 465\ntls_on_connect_ports = 465\nsmtp_accept_max = 7PORTS\n",
    ),
    ("a macro in a word", "X = spool\nspool_directory = /var/X/exim-X\n"),
    (
        "conditions",
        "ONE = 1\n.ifdef ONE\nqueue_only\n.else\nhold_domains = *\n.endif\n.ifndef ONE\nsmtp_accept_max = 1\n.elifdef ONE\nsmtp_accept_max = 2\n.else\nsmtp_accept_max = 3\n.endif\n",
    ),
    (
        "nested conditions",
        "A = 1\n.ifdef B\n.ifdef A\nsmtp_accept_max = 1\n.else\nsmtp_accept_max = 2\n.endif\n.else\n.ifdef A B\nsmtp_accept_max = 3\n.endif\n.endif\n  .ifndef A\nhold_domains = *\n  .endif\n",
    ),
    (
        "continued lines",
        "hold_domains = a.example : \\\n   b.example : \\\n# a comment\n   c.example\n\n# end\\\nqueue_domains = \\\n *\n",
    ),
    (
        "separators",
        "local_interfaces = <; ::1 ; 127.0.0.1 ; [192.0.2.1]:26\nhostlist relay_from_hosts = <, 127.0.0.1, 2001:db8::/32\ndaemon_smtp_ports = <|25|587\n",
    ),
    (
        "doubled separators",
        "local_interfaces = 127.0.0.1 : ::::1\nhostlist relay_from_hosts = 127.0.0.1 : 2001::db8::::/32\n",
    ),
    ("switches", "no_queue_only\ndisable_ipv6 = yes\n"),
    ("not a switch", "not_queue_only\ndisable_ipv6 = false\n"),
    (
        "quotes",
        "hold_domains = \"a.example : \\\"b\\\" : c\\\\d\"\nmessage_size_limit = \"20M\"\ntls_certificate = /etc/ssl/a.pem : /etc/ssl/b.pem\n",
    ),
    (
        "hidden",
        "hide hold_domains = ${lookup mysql{SELECT 1}}\nhide hostlist secret_hosts = 192.0.2.1\nmessage_size_limit = 0\n",
    ),
    (
        "included",
        "smtp_accept_max = 5\n.include DIRECTORY/part.inc\n.include_if_exists DIRECTORY/none.inc\nFROM_PART\n",
    ),
    (
        "named lists",
        "domainlist local_domains = @ : localhost : +others\ndomainlist others = a.example\nhostlist_cache = 1\n",
    ),
    (
        "sections",
        "acl_smtp_rcpt = check\nbegin acl\ncheck:\n  accept hosts = : 127.0.0.1\n  deny\n    message = no\n    ! domains = a.example\n  accept\nbegin routers\nr1:\n  driver = dnslookup\n  domains = ! a.example\n  transport = t1\nr2:\n  driver = accept\n  transport = t2\nbegin transports\nt1:\n  driver = smtp\n  interface = 192.0.2.1\nt2:\n  driver = appendfile\n  file = /var/mail/$local_part\n  user = mail\nbegin retry\n* * F,1h,5m\nbegin authenticators\na1:\n  driver = plaintext\n  public_name = PLAIN\n  server_condition = false\n",
    ),
    (
        "expansions",
        "message_size_limit = ${if eq{$sender_host_address}{127.0.0.1}{100M}{10M}}\ntls_certificate = /etc/ssl/${tls_in_sni}.pem\nacl_smtp_rcpt = ${if eq{1}{1}{a}{b}}\n",
    ),
];

fn written(scratch: &Path) -> Vec<(String, PathBuf)> {
    fs::write(scratch.join("part.inc"), "FROM_PART = queue_only = true\ndaemon_smtp_ports = 2525\n").unwrap();
    let named = WRITTEN.iter().enumerate().map(|(index, (name, content))| {
        let file = scratch.join(format!("written-{index}.conf"));
        // A list that refers to one that comes later is an error of its own in Exim.
        let content = content.replace("hostlist_cache = 1\n", "").replace("DIRECTORY", &scratch.display().to_string());
        let content = content.replace(
            "domainlist local_domains = @ : localhost : +others\ndomainlist others = a.example\n",
            "domainlist others = a.example\ndomainlist local_domains = @ : localhost : +others\n",
        );
        fs::write(&file, content).unwrap();
        ((*name).to_owned(), file)
    });
    named.collect()
}

/// What differs between our reading and Exim's.
fn differences(scratch: &Path, file: &Path) -> String {
    let path = file.to_str().unwrap();
    let exim = |what: &str| {
        inside(
            scratch,
            "exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$1/root/usr/sbin/exim4\" -C $2",
            &format!("{path} -bP {what}"),
        )
    };
    let dump = match exim("") {
        Ok(output) => binary::dump(&output),
        Err(error) => return format!("exim -bP: {error}\n"),
    };
    let load = |path: &str| read::file(Path::new(path), 1 << 20).map(|content| content.bytes);
    let config = sections::parse(&text::read(path, &fs::read(file).unwrap(), &load));
    let mut out =
        config.troubles.iter().fold(String::new(), |out, trouble| format!("{out}{}: {}\n", trouble.at, trouble.text));
    for (kind, list) in
        [("router", &config.routers), ("transport", &config.transports), ("authenticator", &config.authenticators)]
    {
        let ours: Vec<&str> = list.iter().map(|driver| driver.name.as_str()).collect();
        let said = exim(&format!("{kind}_list"))
            .map(|output| String::from_utf8_lossy(&output).into_owned())
            .unwrap_or_default();
        let theirs: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
        if ours != theirs {
            let _ = writeln!(out, "{kind}s: {ours:?}, Exim has {theirs:?}");
        }
    }
    for ((kind, name), value) in config.lists.iter().filter(|(_, value)| !value.hidden) {
        let said =
            exim(&format!("+{name}")).map(|output| String::from_utf8_lossy(&output).into_owned()).unwrap_or_default();
        let ours = format!("{kind} {name} = {}", value.text);
        if said.trim() != ours.trim() {
            let _ = writeln!(out, "{ours:?}, Exim has {said:?}");
        }
    }
    let input = Input {
        file: path,
        config,
        dump: Seen::Absent,
        built: DEBIAN,
        answers: &BTreeMap::new(),
        defaults: None,
        machine: &Machine::default(),
        newer: Vec::new(),
    };
    let read = server(&input);
    for (name, _) in OPTIONS.iter().filter(|(name, _)| !matches!(*name, "primary_hostname" | "qualify_domain")) {
        let (ours, theirs) = (read.setting(name), dump.get(*name).map_or("(none)", String::as_str));
        let same_size = || facts::size(ours).is_some() && facts::size(ours) == facts::size(theirs);
        // What was not built in is not asked either.
        let built_in = dump.contains_key(*name) || !matches!(*name, "av_scanner" | "spamd_address");
        if built_in && ours != theirs && !same_size() && ours != "[masked]" {
            let _ = writeln!(out, "{name}: {ours:?}, Exim has {theirs:?}");
        }
    }
    out
}

#[test]
fn our_reading_is_exims() {
    let skip = |reason: &str| {
        // A closed standard error is no reason to fail.
        let _ = writeln!(std::io::stderr(), "skipped: our_reading_is_exims: {reason}");
    };
    if !rustix::process::geteuid().is_root() {
        return skip("a mount namespace needs root");
    }
    let scratch = Scratch(std::env::temp_dir().join(format!("mxray-exim-{}", std::process::id())));
    fs::create_dir_all(&scratch.0).unwrap();
    if let Err(reason) = unpack(&scratch.0) {
        return skip(&reason);
    }
    etc(&scratch.0);
    if let Err(reason) = inside(
        &scratch.0,
        "setpriv --reuid 65534 --regid 65534 --clear-groups \"$1/root/usr/sbin/exim4\" -C /dev/null -bP exim_version >/dev/null",
        "",
    ) {
        return skip(&format!("the unpacked Exim does not run here: {reason}"));
    }
    let mut all = debians(&scratch.0);
    all.extend(written(&scratch.0));
    assert!(all.len() >= CONFIGURATIONS_MIN);
    let differing: Vec<String> = all
        .iter()
        .map(|(name, file)| (name, differences(&scratch.0, file)))
        .filter(|(_, differences)| !differences.is_empty())
        .map(|(name, differences)| format!("{name}:\n{differences}"))
        .collect();
    assert!(
        differing.is_empty(),
        "{} of {} configurations differ\n{}",
        differing.len(),
        all.len(),
        differing.join("\n")
    );
}
