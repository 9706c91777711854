//! Capabilities by name.

use rustix::io::Errno;
use std::collections::BTreeSet;

/// Names by bit number (linux/capability.h). Bits beyond are named `cap_<number>`, so that a newer kernel's do not get
/// lost.
pub const NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

/// `capget` failed.
#[derive(Debug, thiserror::Error)]
#[error("read own capabilities: {source}")]
pub struct CapabilityError {
    source: Errno,
}

/// The effective capabilities of the calling thread, in lower case.
///
/// # Errors
/// A sandbox may refuse `capget`.
pub fn effective() -> Result<BTreeSet<String>, CapabilityError> {
    let sets = rustix::thread::capabilities(None).map_err(|source| CapabilityError { source })?;
    Ok(names(sets.effective.bits()))
}

/// The names of a bit mask as `/proc/PID/status` prints it.
pub fn names(mask: u64) -> BTreeSet<String> {
    (0..u64::BITS)
        .filter(|bit| mask & (1 << bit) != 0)
        .map(|bit| match NAMES.get(bit as usize) {
            Some(name) => (*name).to_owned(),
            None => format!("cap_{bit}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_their_names() {
        let some: Vec<String> = names(1 << 10 | 1 << 19 | 1 << 40 | 1 << 60).into_iter().collect();
        assert_eq!(some, ["cap_60", "cap_checkpoint_restore", "cap_net_bind_service", "cap_sys_ptrace"]);
        assert!(names(0).is_empty());
    }

    #[test]
    fn our_own_set_equals_what_proc_says() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
        assert_eq!(effective().unwrap(), names(u64::from_str_radix(mask, 16).unwrap()));
    }
}
