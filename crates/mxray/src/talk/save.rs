//! Writing a scenario file: for its owner alone, and over another file only when that is asked for.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes the file; beside it first where it replaces another one, so that a full disk leaves the old one.
///
/// # Errors
/// What the system says; `AlreadyExists` without `replace`.
pub fn write(path: &Path, text: &str, replace: bool) -> io::Result<()> {
    let create = |path: &Path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let finish = |mut file: std::fs::File| file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if !replace {
        let file = create(path)?;
        return finish(file).inspect_err(|_| drop(std::fs::remove_file(path)));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = Path::new(&beside);
    let file = create(beside)?;
    let written = finish(file).and_then(|()| std::fs::rename(beside, path));
    written.inspect_err(|_| drop(std::fs::remove_file(beside)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_only_when_that_is_wanted() {
        let directory = std::env::temp_dir().join(format!("mxray-save-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("a.smtp");
        write(&path, "one\n", false).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(write(&path, "two\n", false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
        write(&path, "two\n", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
