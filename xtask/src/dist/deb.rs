//! The Debian package.
//!
//! No service, nothing in /etc: mxray needs no file, and installing a diagnosis tool on a sick server must change nothing
//! else there. One maintainer script: a purge removes what mxray has learned.

use super::Release;
use super::elf::Image;
use super::stage::{Stage, Tree};
use crate::tree;
use crate::trouble::Trouble;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian Policy 6.8: what a program made by itself goes with a purge.
const POSTRM: &str = "#!/bin/sh\nset -e\nif [ \"$1\" = purge ]; then rm -rf /var/lib/mxray; fi\n";

pub fn pack(release: &Release, stage: &Stage, image: &Image) -> Result<PathBuf, Trouble> {
    let base = stage.directory.join("deb");
    let tree = Tree::new(&base)?;
    lay_out(&tree, release, stage)?;
    let files = files_below(&base, Path::new(""))?;
    let sizes: Result<Vec<u64>, Trouble> = files
        .iter()
        .map(|file| Ok(fs::metadata(base.join(file)).map_err(Trouble::file("look at", file))?.len().div_ceil(1024)))
        .collect();
    let mut sums = Command::new("md5sum");
    sums.args(&files).current_dir(&base);
    let sums = tree::output(&mut sums)?;
    tree.file("DEBIAN/md5sums", &sums)?;
    tree.program("DEBIAN/postrm", POSTRM.as_bytes())?;
    tree.file("DEBIAN/control", control(release, &depends(image)?, sizes?.iter().sum()).as_bytes())?;

    let packed = release.out.join(format!("mxray_{}_{}.deb", release.version, release.architecture.debian));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", &format!("-z{}", release.compression), "--build"])
        .arg(&base)
        .arg(&packed)
        .env("SOURCE_DATE_EPOCH", release.epoch.to_string())
        // How many threads compress shows in the bytes.
        .env("DPKG_DEB_THREADS_MAX", "1");
    tree::output(&mut dpkg)?;
    Ok(packed)
}

fn lay_out(tree: &Tree<'_>, release: &Release, stage: &Stage) -> Result<(), Trouble> {
    tree.program("usr/bin/mxray", &stage.binary)?;
    for (name, page) in &stage.man {
        tree.file(&format!("usr/share/man/man1/{name}.gz"), &gzip(page)?)?;
    }
    for (shell, script) in &stage.completions {
        let place = match *shell {
            "bash" => "bash-completion/completions/mxray",
            "zsh" => "zsh/vendor-completions/_mxray",
            "fish" => "fish/vendor_completions.d/mxray.fish",
            other => return Err(Trouble::found(format!("no place is known for completions of {other}"))),
        };
        tree.file(&format!("usr/share/{place}"), script)?;
    }
    let documents = "usr/share/doc/mxray";
    tree.file(&format!("{documents}/examples/mxray.toml"), &stage.sample)?;
    tree.file(&format!("{documents}/copyright"), copyright(&release.root)?.as_bytes())?;
    tree.file(&format!("{documents}/THIRD-PARTY.gz"), &gzip(stage.third_party.as_bytes())?)?;
    for (from, to) in [("CHANGELOG.md", "changelog.gz"), ("SECURITY.md", "SECURITY.md.gz")] {
        let text = tree::read(&release.root.join(from))?;
        tree.file(&format!("{documents}/{to}"), &gzip(text.as_bytes())?)?;
    }
    for (path, text) in &stage.documents {
        tree.file(&format!("{documents}/{path}"), text)?;
    }
    Ok(())
}

fn control(release: &Release, depends: &str, installed_kib: u64) -> String {
    format!(
        "Package: mxray\n\
         Version: {}\n\
         Architecture: {}\n\
         Maintainer: The mxray authors <authors@mxray.invalid>\n\
         Installed-Size: {installed_kib}\n\
         Depends: {depends}\n\
         Section: mail\n\
         Priority: optional\n\
         Description: X-ray for mail servers\n \
         Names why mail is not arriving on this host, and the exact fix: examines\n \
         sockets, processes, file systems and the mail server's configuration, and\n \
         says what it could not look at. Reads only; changes nothing on the machine.\n",
        release.version, release.architecture.debian
    )
}

/// The Debian packages that bring what the binary is linked with, with the versions of its symbols.
fn depends(image: &Image) -> Result<String, Trouble> {
    let mut packages = BTreeSet::new();
    for library in &image.needed {
        match library.as_str() {
            "libc.so.6" | "libm.so.6" | "libdl.so.2" | "libpthread.so.0" | "librt.so.1" => {
                let version = image.greatest("GLIBC_").ok_or_else(|| {
                    Trouble::found(format!(
                        "{library} is linked without a symbol version; the package cannot say which"
                    ))
                })?;
                packages.insert(format!("libc6 (>= {version})"));
            }
            "libgcc_s.so.1" => {
                let version = image.greatest("GCC_").unwrap_or_else(|| "3.0".to_owned());
                packages.insert(format!("libgcc-s1 (>= {version})"));
            }
            // The loader comes with libc6.
            loader if loader.starts_with("ld-linux") => {}
            other => return Err(Trouble::found(format!("the binary needs {other}: no package is known for it"))),
        }
    }
    Ok(packages.into_iter().collect::<Vec<_>>().join(", "))
}

/// In Debian's machine-readable form.
fn copyright(root: &Path) -> Result<String, Trouble> {
    let mit = tree::read(&root.join("LICENSE-MIT"))?;
    let owner = mit.lines().find_map(|line| line.strip_prefix("Copyright (c) "));
    let owner = owner.ok_or_else(|| Trouble::found("LICENSE-MIT names no owner"))?;
    let terms = mit.lines().skip_while(|line| !line.starts_with("Permission")).map(|line| match line.trim_end() {
        "" => " .".to_owned(),
        line => format!(" {line}"),
    });
    Ok(format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: mxray\n\
         Comment: The crates compiled in, and their licences, stand in THIRD-PARTY.gz.\n\n\
         Files: *\n\
         Copyright: {owner}\n\
         License: Expat or Apache-2.0\n\n\
         License: Expat\n{}\n\n\
         License: Apache-2.0\n On Debian systems the text of the Apache License, Version 2.0, stands in\n \
         /usr/share/common-licenses/Apache-2.0.\n",
        terms.collect::<Vec<_>>().join("\n")
    ))
}

/// As `gzip -9n`, which is what Debian's policy asks for.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>, Trouble> {
    let start = |source| Trouble::Start { program: "gzip".to_owned(), source };
    let mut child = Command::new("gzip")
        .args(["-9", "--no-name", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let input = child.stdin.take();
    // Fed from a thread of its own: a long text fills the pipe in both directions.
    let (fed, done) = std::thread::scope(|scope| {
        let feeder = scope.spawn(|| input.map_or(Ok(()), |mut input| input.write_all(bytes)));
        let done = child.wait_with_output();
        (feeder.join(), done)
    });
    let done = done.map_err(start)?;
    match fed {
        Ok(Ok(())) if done.status.success() => Ok(done.stdout),
        _ => Err(Trouble::Ended { program: "gzip".to_owned(), status: done.status, stderr: String::new() }),
    }
}

/// Every file below, as paths from `base`, sorted.
fn files_below(base: &Path, at: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut files = Vec::new();
    for name in tree::names(&base.join(at))? {
        let path = at.join(name);
        if base.join(&path).is_dir() { files.extend(files_below(base, &path)?) } else { files.push(path) }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn image(needed: &[&str], versions: &[&str]) -> Image {
        let versions = versions.iter().map(|version| (*version).to_owned()).collect();
        Image {
            needed: needed.iter().map(|library| (*library).to_owned()).collect(),
            versions: BTreeMap::from([("any".to_owned(), versions)]),
            has_symbols: false,
        }
    }

    #[test]
    fn depends_names_the_newest_symbol_version_once() {
        let rust = image(
            &["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"],
            &["GLIBC_2.9", "GLIBC_2.34", "GCC_3.0", "GCC_4.2.0"],
        );
        assert_eq!(depends(&rust).unwrap(), "libc6 (>= 2.34), libgcc-s1 (>= 4.2.0)");
    }

    #[test]
    fn a_library_without_a_known_package_stops_the_packing() {
        let refused = depends(&image(&["libssl.so.3"], &["OPENSSL_3.0.0"])).unwrap_err().to_string();
        assert!(refused.contains("libssl.so.3"), "{refused}");
        assert!(depends(&image(&["libc.so.6"], &[])).is_err());
    }

    #[test]
    fn gzip_gives_the_same_bytes_twice_for_more_than_a_pipe_holds() {
        let text: Vec<u8> = (0..400_000u32).flat_map(u32::to_le_bytes).collect();
        let packed = gzip(&text).unwrap();
        assert_eq!(packed, gzip(&text).unwrap());
        assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() < text.len());
    }
}
