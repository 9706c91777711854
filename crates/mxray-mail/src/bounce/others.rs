//! Reports of other people's servers in the forms that have no standard, and answers that are no reports, in own words after the
//! forms of the programs: `others/`. Each begins with `=== name: kind recipient hard cause`, further recipients behind ` | `; `-`
//! stands for what there is none of, or what is left open.

use super::*;

const FILES: [(&str, &str); 5] = [
    ("first", include_str!("others/first.txt")),
    ("exchange", include_str!("others/exchange.txt")),
    ("providers", include_str!("others/providers.txt")),
    ("programs", include_str!("others/programs.txt")),
    ("answers", include_str!("others/answers.txt")),
];

/// What is wrong with a reading, if anything.
fn wrong(reading: &Reading, expected: &str) -> Option<String> {
    let (kind, recipients) = expected.split_once(' ')?;
    let expected_ones: Vec<Vec<&str>> = recipients.split(" | ").map(|one| one.split(' ').collect()).collect();
    let hard = |hard: Option<bool>| hard.map_or("-", |hard| if hard { "yes" } else { "no" });
    let found: Vec<[&str; 3]> =
        reading.recipients.iter().map(|one| [one.address.as_str(), hard(one.hard), one.cause.name()]).collect();
    let fits = |expected: &[&str], found: &[&str; 3]| expected.iter().zip(found).all(|(a, b)| *a == "-" || a == b);
    let none = [vec!["-", "-", "-"]];
    let well = (kind == "-" || format!("{:?}", reading.kind) == kind)
        && if expected_ones == none {
            found.len() <= 1
        } else {
            found.len() == expected_ones.len() && expected_ones.iter().zip(&found).all(|(a, b)| fits(a, b))
        };
    (!well).then(|| format!("{:?} {found:?} instead of {expected}", reading.kind))
}

#[test]
fn each_report_is_read_for_what_it_says() {
    let rules = Rules::built_in();
    let (mut count, mut misread) = (0, Vec::new());
    for (file, text) in FILES {
        for case in text.split("=== ").filter(|case| !case.is_empty()) {
            count += 1;
            let (head, mail) = case.split_once('\n').unwrap();
            let (name, expected) = head.split_once(": ").unwrap();
            let carriage = mail.replace('\n', "\r\n");
            for mail in [mail, carriage.as_str()] {
                let found = wrong(&read(mail.as_bytes(), &rules), expected);
                misread.extend(found.map(|found| format!("{file} {name}: {found}")));
            }
        }
    }
    assert!(misread.is_empty(), "{}", misread.join("\n"));
    assert!(count >= 180, "{count}");
}
