//! The kernel's account of its own clock.
//!
//! rustix has no call for adjtimex(2), and the kernel tells it nowhere else: the one `unsafe` block of the workspace.

use std::io;

/// What the kernel knows of its clock's quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// STA_UNSYNC is not set.
    pub synchronised: bool,
    /// Microseconds.
    pub max_error_us: i64,
}

/// Asks, and changes nothing: `modes` is 0, which needs no privilege (adjtimex(2)).
///
/// # Errors
/// As the kernel gave it; a sandbox may refuse the call.
pub fn state() -> io::Result<State> {
    #[expect(unsafe_code, reason = "adjtimex(2) fills a structure by pointer; rustix has no safe call for it")]
    // SAFETY: an all-zero timex is a valid value of the type (integers only). The pointer leads to a live, writable
    // timex of the C library's own layout for the duration of the call, and the kernel keeps no reference to it.
    let (answer, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    // The type of `maxerror` is a C long: 32 bits on some machines.
    #[allow(clippy::useless_conversion, reason = "not useless where a C long has 32 bits")]
    Ok(State { synchronised: timex.status & libc::STA_UNSYNC == 0, max_error_us: i64::from(timex.maxerror) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers_and_its_clock_goes_on_unchanged() {
        let first = state().unwrap();
        let again = state().unwrap();
        assert_eq!(first.synchronised, again.synchronised);
        // ntp_adjtime(3): never negative, and NTP_PHASE_LIMIT (16 s) at most, or more where somebody set it.
        assert!(first.max_error_us >= 0 && again.max_error_us >= first.max_error_us.min(again.max_error_us));
    }
}
