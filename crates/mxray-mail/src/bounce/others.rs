//! Reports of other people's servers in the forms that have no standard: `others.txt`, in own words after the forms of the
//! programs. Each begins with `=== name: kind recipient hard cause`; `-` stands for what there is none of, or what is left open.

use super::*;

#[test]
fn each_report_is_read_for_what_it_says() {
    let rules = Rules::built_in();
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in include_str!("others.txt").split("=== ").filter(|case| !case.is_empty()) {
        count += 1;
        let (head, mail) = case.split_once('\n').unwrap();
        let (name, expected) = head.split_once(": ").unwrap();
        let expected: Vec<&str> = expected.split(' ').collect();
        let reading = read(mail.as_bytes(), &rules);
        let first = reading.recipients.first();
        let hard = |hard: Option<bool>| hard.map_or("-", |hard| if hard { "yes" } else { "no" });
        let found = [
            format!("{:?}", reading.kind),
            first.map_or("-".to_owned(), |of| of.address.clone()),
            first.map_or("-", |of| hard(of.hard)).to_owned(),
            first.map_or("-", |of| of.cause.name()).to_owned(),
        ];
        let open = |at: usize| at > 1 && expected[at] == "-";
        if reading.recipients.len() > 1 || (0..4).any(|at| !open(at) && expected[at] != found[at]) {
            wrong.push(format!("{name}: {} instead of {}", found.join(" "), expected.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 40, "{count}");
}
