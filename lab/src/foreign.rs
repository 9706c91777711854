//! Debian packages that cannot be installed beside the others: other mail servers conflict with Postfix.
//!
//! A host file names them (`foreign = ["exim4-base", …]`). They are downloaded once, here, where there is a network, and
//! kept; the machine gets them as files and unpacks them into its own overlay (`foreign_packages` in `lib/foreign.sh`).
//! What a package's scripts would do besides (users, directories) is the host file's business.

use crate::machine::run;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A few megabytes from a mirror; a mirror that is slower than this is none.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(120);
/// dpkg-query looks into one file.
const QUERY_LIMIT: Duration = Duration::from_secs(20);

/// `$LAB_CACHE`, else below the directory that cargo builds in.
fn cache() -> PathBuf {
    let target = || {
        std::env::var_os("CARGO_TARGET_DIR")
            .map(PathBuf::from)
            .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
    };
    std::env::var_os("LAB_CACHE").map_or_else(|| target().join("lab-packages"), PathBuf::from)
}

/// The files of these packages, downloaded where they are not there yet. What this system has installed needs no file.
///
/// # Errors
/// One sentence that says why the packages cannot be had: the cases that need them are skipped.
pub fn packages(names: &[String]) -> Result<Vec<PathBuf>, String> {
    // Hosts come up side by side and may want the same packages.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut files = Vec::new();
    for name in names {
        if !is_installed(name) {
            files.push(package(name, &cache())?);
        }
    }
    Ok(files)
}

fn is_installed(name: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status}", name]);
    run(query, QUERY_LIMIT).is_ok_and(|done| done.status.success() && done.output.trim() == "installed")
}

fn package(name: &str, cache: &Path) -> Result<PathBuf, String> {
    if let Some(file) = file_of(name, cache) {
        return Ok(file);
    }
    // Downloaded beside the others and moved in whole: a lab that is interrupted leaves no half of a package.
    let part = cache.join(format!("part.{}", std::process::id()));
    let failed = |error: std::io::Error| format!("{} cannot be written: {error}", part.display());
    fs::create_dir_all(&part).map_err(failed)?;
    let mut download = Command::new("apt-get");
    download.args(["-qq", "-o", "APT::Sandbox::User=root", "download", name]).current_dir(&part);
    let done = run(download, DOWNLOAD_LIMIT);
    let file = file_of(name, &part);
    let moved = file.map(|file| {
        let kept = cache.join(file.file_name().unwrap_or_default());
        fs::rename(&file, &kept).map(|()| kept)
    });
    // Only what was written above.
    let _ = fs::remove_dir_all(&part);
    match (moved, done) {
        (Some(Ok(file)), Ok(done)) if done.status.success() => Ok(file),
        (Some(Err(error)), _) => Err(failed(error)),
        (_, Ok(done)) => Err(format!("the package {name} cannot be downloaded: {}", done.output.trim())),
        (_, Err(error)) => Err(format!("the package {name} cannot be downloaded: apt-get: {error}")),
    }
}

/// `exim4-base_4.96-15+deb12u10_amd64.deb`
fn file_of(name: &str, directory: &Path) -> Option<PathBuf> {
    let is_its = |path: &PathBuf| {
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        file.strip_prefix(name).is_some_and(|rest| rest.starts_with('_') && rest.ends_with(".deb"))
    };
    let mut found: Vec<PathBuf> = fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path()).collect();
    found.retain(is_its);
    found.sort();
    found.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_by_its_whole_name() {
        let directory = std::env::temp_dir().join(format!("mxray-lab-foreign-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for file in ["exim4-base_4.96_amd64.deb", "exim4_4.96_all.deb", "exim4-config_4.96_all.deb.part"] {
            fs::write(directory.join(file), "").unwrap();
        }
        assert_eq!(file_of("exim4", &directory), Some(directory.join("exim4_4.96_all.deb")));
        assert_eq!(file_of("exim4-base", &directory), Some(directory.join("exim4-base_4.96_amd64.deb")));
        assert_eq!(file_of("exim4-config", &directory), None);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_cannot_be_had_says_so() {
        let directory = std::env::temp_dir().join(format!("mxray-lab-nowhere-{}", std::process::id()));
        let reason = package("no-such-package-of-the-lab", &directory).unwrap_err();
        assert!(reason.contains("no-such-package-of-the-lab"), "{reason}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        fs::remove_dir_all(&directory).unwrap();
    }
}
