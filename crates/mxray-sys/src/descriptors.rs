//! Descriptors that a process was started with.

use std::path::Path;

/// Where the kernel lists them.
const OWN: &str = "/proc/self/fd";

/// Closes all descriptors from this number on, whoever opened them. For a process that has just begun and has opened nothing
/// itself: what it was started with beyond its standard ones was left open by mistake. Where the list cannot be read
/// nothing is closed.
pub fn close_from(first: i32) {
    let Ok(list) = std::fs::read_dir(Path::new(OWN)) else { return };
    let numbers: Vec<i32> = list
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number >= first)
        .collect();
    for number in numbers {
        // The list's own descriptor is among them, and closed already.
        let _ = nix::unistd::close(number);
    }
}
