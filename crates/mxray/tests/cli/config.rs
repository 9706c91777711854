//! Configuration through the binary: which file wins, how errors read, that secrets stay where they are.

use crate::{Scratch, answer, mxray, run, skipped, talk, text};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

const SECRET: &str = "correct-horse-battery";

#[test]
fn an_error_names_file_line_and_the_nearest_key() {
    let scratch = Scratch::new("nearest");
    let file = scratch.file("mxray.toml", "[doctor]\n\ntragets = [\"example.org\"]\n");
    let said = talk(&run(&["--config", file.to_str().unwrap(), "config", "check"]), 1);
    assert!(said.contains(&format!("{}:3:1: unknown key `tragets` in [doctor]", file.display())), "{said}");
    assert!(said.contains("did you mean `targets`?"), "{said}");
    // Every other command cannot use it at all.
    talk(&run(&["--config", file.to_str().unwrap(), "config", "show"]), 64);
}

#[test]
fn a_good_file_is_ok_and_named() {
    let scratch = Scratch::new("ok");
    let file = scratch.file("mxray.toml", "[doctor]\nsince = \"2h\"\n");
    let path = file.to_str().unwrap();
    assert_eq!(answer(&["--config", path, "config", "check"]), format!("ok: {path}\n"));
    let checked = mxray(&["config", "check"]).env("MXRAY_CONFIG", path).output().unwrap();
    assert_eq!(text(&checked.stdout), format!("ok: {path}\n"));
    let shown = answer(&["--config", path, "config", "show"]);
    assert!(shown.contains(&format!("since = \"2h\"  # {path}:2\n")), "{shown}");
    assert!(shown.contains("deadline_s = 10\n"), "{shown}");
}

#[test]
fn the_users_file_is_read_without_being_named() {
    let scratch = Scratch::new("user");
    let file = scratch.file("mxray/mxray.toml", "[doctor]\nfail_on = \"warning\"\n");
    let output = mxray(&["config", "show"]).env("XDG_CONFIG_HOME", &scratch.0).output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains(&format!("fail_on = \"warning\"  # {}:2", file.display())), "{shown}");
    let output = mxray(&["config", "show"])
        .env("XDG_CONFIG_HOME", &scratch.0)
        .env("MXRAY_FAIL_ON", "critical")
        .output()
        .unwrap();
    assert!(text(&output.stdout).contains("fail_on = \"critical\"  # MXRAY_FAIL_ON"), "{}", text(&output.stdout));
}

#[test]
fn a_directory_is_read_in_the_order_of_names() {
    let scratch = Scratch::new("dir");
    scratch.file("20.toml", "[doctor]\nsince = \"2h\"\n");
    scratch.file("10.toml", "[doctor]\nsince = \"1h\"\ndeadline_s = 5\n");
    scratch.file("30.conf", "not TOML at all");
    let shown = answer(&["--config", scratch.0.to_str().unwrap(), "config", "show"]);
    assert!(shown.contains("since = \"2h\""), "{shown}");
    assert!(shown.contains("deadline_s = 5"), "{shown}");
}

#[test]
fn a_named_file_that_is_not_there_is_an_error() {
    let said = talk(&run(&["--config", "/nonexistent/mxray.toml", "config", "check"]), 1);
    assert!(said.contains("/nonexistent/mxray.toml: no such file"), "{said}");
    talk(&run(&["--config", "/nonexistent/mxray.toml", "config", "show"]), 64);
}

#[test]
fn a_secret_is_never_shown() {
    let scratch = Scratch::new("secret");
    let good = scratch.file("good.toml", "[submission]\nuser = \"u\"\npassword = \"env:MXRAY_TEST_PASSWORD\"\n");
    for words in [&["config", "show"][..], &["config", "show", "--json"]] {
        let output =
            mxray(&[&["--config", good.to_str().unwrap()], words].concat()).env("MXRAY_TEST_PASSWORD", SECRET).output();
        let output = output.unwrap();
        assert!(text(&output.stdout).contains("env:MXRAY_TEST_PASSWORD"), "{words:?}");
        assert!(!text(&output.stdout).contains(SECRET), "{words:?}");
    }
    for wrong in ["password = \"{}\"", "pasword = \"{}\"", "password = \"{}", "password = {}"] {
        let line = wrong.replace("{}", SECRET);
        let bad = scratch.file("bad.toml", &format!("[submission]\n{line}\n"));
        let said = talk(&run(&["--config", bad.to_str().unwrap(), "config", "check"]), 1);
        assert!(said.contains("bad.toml:2:"), "{said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}

#[test]
fn show_as_json_has_the_origin_of_every_value() {
    let shown: serde_json::Value = serde_json::from_str(&answer(&["config", "show", "--json"])).unwrap();
    assert_eq!(shown["schema"], "mxray/config/1");
    let rows = shown["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["from"] == "default"), "{shown}");
    assert!(rows.iter().any(|row| row["key"] == "doctor.deadline_s" && row["value"] == "10"), "{shown}");
}

#[test]
fn a_file_that_may_not_be_read_is_never_taken_for_absent() {
    const NOBODY: u32 = 65534;
    let scratch = Scratch::new("unreadable");
    let file = scratch.file("mxray/mxray.toml", "[doctor]\nsince = \"1h\"\n");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o000)).unwrap();
    let as_nobody = |words: &[&str]| {
        let mut command = mxray(words);
        command.env("XDG_CONFIG_HOME", &scratch.0);
        // Root may read everything, so there the command runs as somebody else.
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY);
        }
        command.output()
    };
    let checked = match as_nobody(&["config", "check"]) {
        Ok(output) => output,
        // A build directory below root's home cannot be entered by others.
        Err(error) => return skipped("run as another user", &error.to_string()),
    };
    let said = talk(&checked, 1);
    assert!(said.contains(file.to_str().unwrap()) && said.contains("ermission denied"), "{said}");
    let shown = text(&as_nobody(&["config", "show"]).unwrap().stdout);
    assert!(shown.contains(&format!("# not read: {}", file.display())), "{shown}");
    let report = as_nobody(&["doctor", "--json", "--fail-on", "never"]).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let told = |row: &serde_json::Value| row["what"].as_str().unwrap().ends_with(file.to_str().unwrap());
    assert!(report["unseen"].as_array().unwrap().iter().any(told), "{}", report["unseen"]);
    let named = as_nobody(&["--config", file.to_str().unwrap(), "config", "show"]).unwrap();
    assert!(talk(&named, 64).contains("ermission denied"));
}

#[test]
fn a_fifo_at_a_usual_place_holds_nothing() {
    let scratch = Scratch::new("fifo");
    let file = scratch.file("mxray/mxray.toml", "");
    std::fs::remove_file(&file).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let output = mxray(&["config", "show"]).env("XDG_CONFIG_HOME", &scratch.0).output().unwrap();
    assert!(talk(&output, 64).contains("not a regular file"));
}

#[test]
fn rules_for_replies_are_one_setting_that_is_checked() {
    let scratch = Scratch::new("replies");
    let rule = "[[rule]]\nid = \"own\"\ncause = \"rcpt-moved\"\nany = [\"user unknown\"]\nsource = \"me\"\n\
                sample = \"550 user unknown\"\n[source.me]\nabout = \"seen here\"\ndate = \"2026-01-01\"\n";
    let rules = scratch.file("replies.toml", rule);
    let file = scratch.file("mxray.toml", &format!("[replies]\nrules = [{rules:?}]\n"));
    let config = ["--config", file.to_str().unwrap()];
    let checked = answer(&[&config[..], &["config", "check"]].concat());
    assert_eq!(checked, format!("ok: {}\nok: {}\n", file.display(), rules.display()));
    let mail = scratch.file(
        "mail.eml",
        "From: mailer-daemon@x\nSubject: failure notice\n\nunable to deliver\n<a@b.example>: 550 user unknown\n",
    );
    let bounce = answer(&[&config[..], &["bounce", "--json", mail.to_str().unwrap()]].concat());
    assert!(bounce.contains("\"cause\":\"rcpt-moved\""), "{bounce}");
    // One that is wrong is named with its line and left out; what can be judged is judged.
    std::fs::write(&rules, format!("{rule}\n[[rule]]\nid = \"x\"\n")).unwrap();
    let said = talk(&run(&[&config[..], &["config", "check"]].concat()), 1);
    assert!(said.contains("replies.toml, line 11: "), "{said}");
    let bounce = run(&[&config[..], &["bounce", "--json", mail.to_str().unwrap()]].concat());
    let (told, said) = (text(&bounce.stdout), text(&bounce.stderr));
    assert!(told.contains("\"cause\":\"rcpt-moved\"") && told.contains("replies.toml, line 11"), "{told}");
    assert!(said.contains("not used") && said.contains("replies.toml, line 11"), "{said}");
    // The file of settings may name one that this user may not see.
    std::fs::remove_file(&rules).unwrap();
    let bounce = run(&[&config[..], &["bounce", "--json", mail.to_str().unwrap()]].concat());
    assert!(text(&bounce.stdout).contains("\"cause\":\"rcpt-unknown\""), "{}", text(&bounce.stdout));
}
