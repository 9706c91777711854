//! Whether this system can run the lab at all; if not, the reason in one sentence.

use crate::machine::run;
use std::process::Command;
use std::time::Duration;

/// Programs that the host files use, with the Debian package of each (see `packages.txt`).
const PROGRAMS: &[(&str, &str)] = &[
    ("/usr/sbin/postfix", "postfix"),
    ("/usr/sbin/dovecot", "dovecot-core"),
    ("/usr/lib/dovecot/imap-login", "dovecot-imapd"),
    ("/usr/lib/dovecot/pop3-login", "dovecot-pop3d"),
    ("/usr/lib/dovecot/lmtp", "dovecot-lmtpd"),
    ("/usr/sbin/opendkim", "opendkim"),
    ("/usr/sbin/rsyslogd", "rsyslog"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/bin/python3", "python3"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/ss", "iproute2"),
    ("/usr/sbin/chronyd", "chrony"),
    ("/usr/bin/pgrep", "procps"),
    ("/usr/bin/setpriv", "util-linux"),
    ("/usr/bin/faketime", "faketime"),
    ("/usr/sbin/useradd", "passwd"),
];

/// Starting one process in new namespaces takes milliseconds.
const TRIAL_LIMIT: Duration = Duration::from_secs(10);

/// `Err` with the reason why no lab case can run here.
pub fn check() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("the lab needs root for namespaces, overlay mounts and low ports".to_owned());
    }
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(path, _)| !std::path::Path::new(path).exists()).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        return Err(format!("packages are missing: {}", missing.join(" ")));
    }
    let mut trial = Command::new("unshare");
    trial.args(["--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup", "sh", "-c"]);
    trial.arg("mount -t tmpfs lab /mnt && mkdir /mnt/u /mnt/w /mnt/r && mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r && mount -t proc proc /mnt/r/proc && mount -t sysfs sysfs /mnt/r/sys && ip link add name lab0 type veth peer name lab1");
    match run(trial, TRIAL_LIMIT) {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(format!("namespaces with an overlay of / are not permitted here: {}", done.output.trim())),
        Err(error) => Err(format!("namespaces could not be tried: unshare: {error}")),
    }
}
