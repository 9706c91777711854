//! A report whose every string is hostile, as if no collector had escaped anything.

use crate::rendered;
use crate::sample;
use mxray_model::text::is_steering;
use mxray_model::{Finding, Fix, Report, Row, RuledOut, Seen, Severity, Subject, SubjectKind, Unseen};
use mxray_render::{Format, Options};
use proptest::prelude::*;

/// What foreign text is made of, where somebody means harm; and anything else.
fn evil() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("\x1b[2J\x1b]0;owned\x07".to_owned()),
        Just("\u{9b}31m\u{202e}\u{2066}\u{200b}\u{feff}\u{7f}\0".to_owned()),
        Just("\r\nOK: all well\n```\n| causes=0\n".to_owned()),
        Just("<script>alert(1)</script><img src=x onerror=alert(1)>\" ' & --> ]]>".to_owned()),
        Just("</style></pre></code></title><a href=\"javascript:x\">".to_owned()),
        Just("](http://evil.example) ![x](y) **b** _i_ # h `c` ~~s~~ | t | \\".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(part, 1..3).prop_map(|parts| parts.concat())
}

fn finding(code: &str, texts: &[String; 6]) -> Finding {
    let [one, two, three, four, five, six] = texts;
    let mut finding = Finding::new(code, one, Severity::Critical, Subject::new(SubjectKind::Service, two), three)
        .because(four, five, six)
        .data("key", one.as_str())
        .fix(Fix::here(two).command(three).config(four, Some(1), five).undo(six).verify(one))
        .reference(two);
    finding.fix.push(Fix { who: three.clone(), ..Fix::here(four) });
    finding
}

fn report(texts: &[String; 6]) -> Report {
    let [one, two, three, four, five, six] = texts;
    let consequence = finding(one, texts);
    let mut cause = finding(two, texts);
    cause.explains = vec![consequence.id.clone()];
    let mut notice = finding(three, texts);
    notice.severity = Severity::Notice;
    let mut report = sample::broken();
    report.summary = one.clone();
    report.started = two.clone();
    report.tool.version = three.clone();
    report.question.targets = vec![four.clone()];
    report.ruled_out = vec![RuledOut { code: five.clone(), name: six.clone(), because: one.clone() }];
    report.healthy = vec![Row { code: two.clone(), text: three.clone() }];
    report.unseen = vec![Unseen { what: four.clone(), why: five.clone(), needs: six.clone() }];
    report.evidence.vantage.host_name = one.clone();
    report.evidence.vantage.container = Seen::Value(two.clone());
    report.causes = vec![cause.clone()];
    report.findings = vec![cause, consequence, notice];
    report
}

/// Everything between `<` and `>`. Text cannot add to it: it has neither.
fn tags(html: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').expect("a tag that ends");
        tags.push(tag.to_owned());
        rest = after;
    }
    tags
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_steers_a_terminal(texts in prop::array::uniform6(evil()), verbose: bool) {
        let report = report(&texts);
        for format in [Format::Text, Format::Markdown, Format::Nagios, Format::Html, Format::Json] {
            let out = rendered(&report, format, Options { verbose, ..Options::default() });
            let found = out.chars().find(|c| *c != '\n' && is_steering(*c));
            prop_assert_eq!(found, None, "{:?}: {}", format, out);
        }
    }

    #[test]
    fn html_has_only_our_tags(texts in prop::array::uniform6(evil())) {
        let options = Options { verbose: true, ..Options::default() };
        let meek = ["a", "b", "c", "d", "e", "f"].map(str::to_owned);
        let expected: Vec<_> = tags(&rendered(&report(&meek), Format::Html, options));
        // Texts that end in a full stop are sentences and get other tags than commands: compare the kinds of tags.
        let allowed: std::collections::BTreeSet<_> = expected.iter().cloned()
            .chain(["/p".to_owned(), "p".to_owned(), "pre".to_owned(), "/pre".to_owned(), "strong".to_owned()])
            .collect();
        let mut open = Vec::new();
        for tag in tags(&rendered(&report(&texts), Format::Html, options)) {
            prop_assert!(allowed.contains(&tag), "a tag from outside: <{}>", tag);
            let name = tag.split(' ').next().unwrap_or_default().to_owned();
            match name.strip_prefix('/') {
                Some(closed) => prop_assert_eq!(open.pop(), Some(closed.to_owned())),
                None if name == "meta" || name == "!DOCTYPE" => {}
                None => open.push(name),
            }
        }
        prop_assert!(open.is_empty(), "not closed: {:?}", open);
    }

    #[test]
    fn nagios_has_one_pipe(texts in prop::array::uniform6(evil())) {
        let out = rendered(&report(&texts), Format::Nagios, Options::default());
        prop_assert_eq!(out.matches('|').count(), 1, "{}", out);
        prop_assert!(out.lines().next().is_some_and(|line| line.starts_with("MXRAY CRITICAL - ")), "{}", out);
    }

    #[test]
    fn commands_stand_on_one_line_each(texts in prop::array::uniform6(evil())) {
        let options = Options::default();
        let meek = ["a", "b", "c", "d", "e", "f"].map(str::to_owned);
        // A line feed inside a command would be a command of its own to whoever copies it.
        let mut hostile = report(&meek);
        let calm = rendered(&hostile, Format::Text, options).lines().count();
        for cause in &mut hostile.causes {
            for fix in &mut cause.fix {
                fix.commands = fix.commands.iter().map(|_| texts[0].clone()).collect();
            }
        }
        prop_assert_eq!(rendered(&hostile, Format::Text, options).lines().count(), calm);
    }
}

#[test]
fn a_cycle_of_explanations_ends() {
    let mut report = sample::broken();
    let ids: Vec<_> = report.findings.iter().map(|finding| finding.id.clone()).collect();
    for finding in report.findings.iter_mut().chain(&mut report.causes) {
        finding.explains = ids.clone();
    }
    let text = rendered(&report, Format::Text, Options { verbose: true, ..Options::default() });
    assert!(text.contains("(see above)"), "{text}");
}
