//! Another network namespace: entered once, before any thread starts, so that everything looks at it.

use crate::exit::Failure;
use std::str::FromStr;

/// A network namespace by the name that `ip netns` gives it, or by a process that lives in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Name(String),
    Process(u32),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('/') || text == "." || text == ".." {
            return Err("a name as `ip netns list` prints it, or a process id".to_owned());
        }
        Ok(match text.parse() {
            Ok(0) => return Err("0 is no process id".to_owned()),
            Ok(pid) => Target::Process(pid),
            Err(_) => Target::Name(text.to_owned()),
        })
    }
}

/// Moves this process into the namespace.
///
/// # Errors
/// `Unanswered`, with what stood in the way: looking at the wrong namespace would answer another question.
pub fn enter(target: &Target) -> Result<(), Failure> {
    let place = match target {
        Target::Name(name) => format!("/run/netns/{name}"),
        Target::Process(pid) => format!("/proc/{pid}/ns/net"),
    };
    let file =
        std::fs::File::open(&place).map_err(|error| Failure::Unanswered(format!("--netns: open {place}: {error}")))?;
    rustix::thread::move_into_link_name_space(
        std::os::fd::AsFd::as_fd(&file),
        Some(rustix::thread::LinkNameSpaceType::Network),
    )
    .map_err(|errno| {
        let needs = if errno == rustix::io::Errno::PERM { "; run as root, or with CAP_SYS_ADMIN" } else { "" };
        Failure::Unanswered(format!("--netns: enter {place}: {errno}{needs}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_process_and_a_path_is_nothing() {
        assert_eq!("mx1".parse(), Ok(Target::Name("mx1".into())));
        assert_eq!("812".parse(), Ok(Target::Process(812)));
        assert!("../x".parse::<Target>().is_err());
        assert!("0".parse::<Target>().is_err());
        assert!("".parse::<Target>().is_err());
    }
}
