//! The table of a run, for a terminal and for `bench/results`.

use crate::runner::{Case, Outcome, Outcomes};
use std::fmt::Write as _;
use std::process::Command;

fn word(case: &Case) -> &'static str {
    match case.outcome {
        Outcome::Ok => "ok",
        Outcome::OkUnknown => "ok, unknown",
        Outcome::Wrong(_) => "WRONG",
        Outcome::LabError(_) => "LAB ERROR",
    }
}

/// One line that says how the run went.
pub fn summary(outcomes: &Outcomes) -> String {
    let count = |wanted: fn(&Case) -> bool| outcomes.cases.iter().filter(|case| wanted(case)).count();
    format!(
        "{} cases: {} right ({} of them unknown, saying what would show it), {} wrong, {} lab errors, {} leftovers, {:.0} s",
        outcomes.cases.len(),
        count(Case::good),
        count(|case| case.outcome == Outcome::OkUnknown),
        count(|case| matches!(case.outcome, Outcome::Wrong(_))),
        count(|case| matches!(case.outcome, Outcome::LabError(_))),
        outcomes.left.len(),
        outcomes.took.as_secs_f64()
    )
}

/// The rows as a Markdown table with columns of even width, so that it reads on a terminal as well.
pub fn rows(cases: &[Case]) -> String {
    let head = ["fault", "host", "expected", "causes[0] (+ others)", "verdict", "seconds", "doctor"].map(str::to_owned);
    let mut lines = vec![head.to_vec()];
    for case in cases {
        lines.push(vec![
            case.slug.clone(),
            case.host.clone(),
            case.expected.clone(),
            case.got.replace('|', "\\|"),
            word(case).to_owned(),
            format!("{:.1}", case.took.as_secs_f64()),
            format!("{:.2}", case.doctor.as_secs_f64()),
        ]);
    }
    let mut widths = vec![0; head.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (width, cell) in widths.iter().zip(line) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// The whole file for `bench/results`: where, when and how, then the table, then what was wrong.
pub fn results(outcomes: &Outcomes, command: &str) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut text = format!(
        "# Lab: injected faults and healthy hosts\n\n- machine: {model}, {cores} cores\n- kernel: {}\n- Postfix {}, Dovecot {}\n- date: {}\n- command: `{command}`\n- {}\n\nBehind the plus sign: codes of causes beside the first. A fault may have two; the others are consequences that were not told as such.\nSeconds: from before the injection to the judgement; doctor: that command alone.\n\n",
        said("uname", &["-r"]),
        said("dpkg-query", &["-W", "-f", "${Version}", "postfix"]),
        said("dpkg-query", &["-W", "-f", "${Version}", "dovecot-core"]),
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        summary(outcomes)
    );
    text.push_str(&rows(&outcomes.cases));
    for case in outcomes.cases.iter().filter(|case| !case.good()) {
        if let Outcome::Wrong(why) | Outcome::LabError(why) = &case.outcome {
            let _ = write!(text, "\n- {}: {why}", case.slug);
        }
    }
    text
}
