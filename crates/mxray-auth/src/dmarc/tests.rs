//! Traps by their numbers, and the walk of RFC 9989 section 4.10 beside RFC 7489.

use super::walk::names;
use super::{Dmarc, DmarcDiscoverer, DmarcReports, read_record, registrable};
use crate::ask::Kind;
use crate::played::Zone;
use mxray_model::evidence::published::{
    DkimResult, DmarcDiscovery, DmarcFound, DmarcInputs, DmarcPolicy, DmarcProblem, DmarcResult, DmarcTarget,
    DmarcVerdict, SpfResult,
};
use proptest::prelude::*;

fn discover(domain: &str, zone: &Zone) -> DmarcDiscovery {
    zone.outcome(DmarcDiscoverer { domain: domain.into() })
}

fn zone(records: &[(&str, &str)]) -> Zone {
    records.iter().fold(Zone::default(), |zone, (name, text)| zone.txt(&format!("_dmarc.{name}"), text))
}

fn record_of(discovery: &DmarcDiscovery) -> (Option<&str>, Option<&str>) {
    (discovery.current.organizational.as_deref(), discovery.current.record_of.as_deref())
}

#[test]
fn t29b_the_walk_goes_on_upward() {
    // The one with the fewest labels is the organisation's.
    let zone = zone(&[("a.b.example.com", "v=DMARC1; p=none"), ("example.com", "v=DMARC1; p=reject; sp=quarantine")]);
    let found = discover("a.b.example.com", &zone);
    assert_eq!(record_of(&found), (Some("example.com"), Some("a.b.example.com")));
    assert_eq!(found.walk.len(), 4);
    let found = discover("x.a.b.example.com", &zone);
    assert_eq!(record_of(&found), (Some("example.com"), Some("example.com")));
    assert_eq!(found.current.policy, Some(DmarcPolicy::Quarantine));
}

#[test]
fn t29b_a_record_that_says_what_it_is_ends_the_walk() {
    let psd = zone(&[("giant.example", "v=DMARC1; p=none; psd=n"), ("example", "v=DMARC1; p=reject; psd=y")]);
    let found = discover("mail.giant.example", &psd);
    assert_eq!(record_of(&found), (Some("giant.example"), Some("giant.example")));
    assert_eq!(found.walk.len(), 2);
    // One label below the suffix is the organisation, with or without a record of its own.
    let suffix = zone(&[("bank", "v=DMARC1; p=reject; psd=y; sp=reject; np=quarantine")]);
    let found = discover("a.b.mine.bank", &suffix.clone().a("a.b.mine.bank", "192.0.2.1"));
    assert_eq!(record_of(&found), (Some("mine.bank"), Some("bank")));
    assert_eq!(found.current.policy, Some(DmarcPolicy::Reject));
    assert_eq!(discover("gone.bank", &suffix).current.policy, Some(DmarcPolicy::Quarantine));
    // The start itself may be a suffix, and is its own organisation.
    let found = discover("co.example", &zone(&[("co.example", "v=DMARC1; p=none; psd=y")]));
    assert_eq!(record_of(&found), (Some("co.example"), Some("co.example")));
}

#[test]
fn t29b_a_record_of_a_top_level_domain_counts_only_as_a_suffix() {
    let found = discover("example.com", &zone(&[("com", "v=DMARC1; p=reject")]));
    assert_eq!(record_of(&found), (Some("example.com"), None));
}

#[test]
fn t29b_long_names_go_on_with_seven_labels() {
    assert_eq!(
        names("a.b.c.example.com"),
        ["a.b.c.example.com", "b.c.example.com", "c.example.com", "example.com", "com"]
    );
    let long = names("a.b.c.d.e.f.g.h.i.j.mail.example.com");
    assert_eq!(long.len(), 8);
    assert_eq!(long[1], "g.h.i.j.mail.example.com");
    assert_eq!(names("a.b.c.d.e.f.example.com")[1], "b.c.d.e.f.example.com");
}

#[test]
fn several_records_are_none_and_near_misses_are_told() {
    let several =
        Zone::default().txt("_dmarc.example.com", "v=DMARC1; p=none").txt("_dmarc.example.com", "v=DMARC1; p=reject");
    let found = discover("example.com", &several);
    assert_eq!((found.current.record_of, &found.walk[0].found), (None, &DmarcFound::Several { count: 2 }));
    for near in [
        " v=DMARC1; p=none",
        "v=DMARC1 p=none",
        "v=dmarc1; p=none",
        "\"v=DMARC1; p=none\"",
        "v=DMARC2; p=none",
        "DMARC1; p=none",
    ] {
        let found = discover("example.com", &zone(&[("example.com", near)]));
        assert!(matches!(found.walk[0].found, DmarcFound::NotRecord { .. }), "{near}");
    }
    let misplaced = discover("example.com", &Zone::default().txt("example.com", "v=DMARC1; p=none"));
    assert_eq!(misplaced.misplaced, ["v=DMARC1; p=none"]);
}

#[test]
fn both_generations_are_shown_where_they_differ() {
    let same = zone(&[("example.com", "v=DMARC1; p=reject; rua=mailto:d@example.com")]);
    assert_eq!(discover("www.example.com", &same).differ, None);
    // Between the name and the registrable domain: RFC 7489 never asks there.
    let between = zone(&[("b.example.com", "v=DMARC1; p=reject")]);
    let found = discover("a.b.example.com", &between);
    assert_eq!(found.current.policy, Some(DmarcPolicy::Reject));
    assert_eq!((found.older.policy, found.older.organizational.as_deref()), (None, Some("example.com")));
    assert!(found.differ.unwrap().contains("RFC 7489: no record"));
    // What is a test to the one is in force to the other.
    let testing = discover("example.com", &zone(&[("example.com", "v=DMARC1; p=reject; t=y")]));
    assert_eq!(
        (testing.current.policy, testing.older.policy),
        (Some(DmarcPolicy::Quarantine), Some(DmarcPolicy::Reject))
    );
    assert!(testing.differ.is_some());
    assert_eq!(registrable("a.b.example.co.uk").as_deref(), Some("example.co.uk"));
    assert_eq!(registrable("co.uk"), None);
}

#[test]
fn what_could_not_be_looked_up_leaves_it_open() {
    let zone = zone(&[("example.com", "v=DMARC1; p=reject")]).fails("_dmarc.a.example.com", Kind::Txt);
    let found = discover("a.example.com", &zone);
    assert_eq!((found.current.policy, found.current.unknown.is_some(), found.differ), (None, true, None));
    let verdict = judged("a.example.com", None, &[("a.example.com", DkimResult::Pass)], &zone);
    assert_eq!(verdict.result, DmarcResult::TempError);
}

fn judged(author: &str, spf: Option<(&str, SpfResult)>, dkim: &[(&str, DkimResult)], zone: &Zone) -> DmarcVerdict {
    let spf = spf.map(|(domain, result)| (domain.to_owned(), result));
    let dkim = dkim.iter().map(|(domain, result)| ((*domain).to_owned(), *result)).collect();
    zone.outcome(Dmarc { inputs: DmarcInputs { author: author.into(), spf, dkim } })
}

#[test]
fn t29c_reports_to_others_have_to_be_allowed() {
    let target = |uri: &str, zone: &Zone| -> DmarcTarget {
        let record = read_record(format!("v=DMARC1; p=none; rua={uri}").as_bytes());
        zone.outcome(DmarcReports { domain: "example.com".into(), targets: record.aggregate }).remove(0)
    };
    let own = zone(&[("example.com", "v=DMARC1; p=none")]);
    assert_eq!(target("mailto:d@example.com", &own).authorized, Some(true));
    let sub = target("mailto:d@reports.example.com", &own);
    assert_eq!((sub.authorized, sub.asked), (Some(true), None));
    let other = target("mailto:d@vendor.example", &own);
    assert_eq!(
        (other.authorized, other.asked.as_deref()),
        (Some(false), Some("example.com._report._dmarc.vendor.example"))
    );
    let allowed = own.clone().txt("example.com._report._dmarc.vendor.example", "v=DMARC1;");
    assert_eq!(target("mailto:d@vendor.example", &allowed).authorized, Some(true));
    let wrong = own.clone().txt("example.com._report._dmarc.vendor.example", "yes");
    assert_eq!(target("mailto:d@vendor.example", &wrong).authorized, Some(false));
    let late = own.fails("example.com._report._dmarc.vendor.example", Kind::Txt);
    assert_eq!(target("mailto:d@vendor.example", &late).authorized, None);
    // Two names that end alike are not one organisation.
    assert_eq!(target("mailto:d@notexample.com", &Zone::default()).authorized, Some(false));
}

#[test]
fn t29d_bad_values_cost_their_tag_alone() {
    let record = read_record(b"v=DMARC1; sp=quarantine; adkim=x; foo=1; pct=50; rua=mailto:a@b.example!10m,nobody");
    assert_eq!(
        (record.policy, record.policy_stated, record.subdomains),
        (DmarcPolicy::None, false, DmarcPolicy::Quarantine)
    );
    let has = |wanted: fn(&DmarcProblem) -> bool| record.problems.iter().any(wanted);
    assert!(has(|one| matches!(one, DmarcProblem::PolicyMissing)));
    assert!(has(|one| matches!(one, DmarcProblem::Value { tag, column: 32, .. } if tag == "adkim")));
    assert!(has(|one| matches!(one, DmarcProblem::UnknownTag { tag } if tag == "foo")));
    assert!(has(|one| matches!(one, DmarcProblem::RemovedTag { tag, .. } if tag == "pct")));
    assert!(has(|one| matches!(one, DmarcProblem::SizeLimit { .. })));
    assert!(has(|one| matches!(one, DmarcProblem::Uri { .. })));
    assert_eq!((record.aggregate.len(), record.percent), (1, Some(50)));
    let good = read_record(b"v=DMARC1; P=Reject; RUA=mailto:a@b.example ;");
    assert_eq!((good.policy, good.problems.as_slice()), (DmarcPolicy::Reject, [].as_slice()));
    let weak = read_record(b"v=DMARC1; p=reject; sp=none; rua=mailto:a@b.example");
    assert_eq!(weak.problems, [DmarcProblem::Weaker { tag: "sp".into(), policy: DmarcPolicy::None }]);
}

#[test]
fn t29e_one_aligned_pass_is_enough() {
    let relaxed = zone(&[("example.com", "v=DMARC1; p=reject")]);
    let forwarded = judged(
        "example.com",
        Some(("list.example", SpfResult::Pass)),
        &[("mail.example.com", DkimResult::Pass)],
        &relaxed,
    );
    assert_eq!((forwarded.result, forwarded.rests_on_spf, forwarded.asked), (DmarcResult::Pass, false, None));
    let rests = judged(
        "example.com",
        Some(("bounce.example.com", SpfResult::Pass)),
        &[("example.com", DkimResult::Fail)],
        &relaxed,
    );
    assert_eq!((rests.result, rests.rests_on_spf), (DmarcResult::Pass, true));
    let stranger =
        judged("example.com", Some(("esp.example", SpfResult::Pass)), &[("esp.example", DkimResult::Pass)], &relaxed);
    assert_eq!((stranger.result, stranger.asked), (DmarcResult::Fail, Some(DmarcPolicy::Reject)));
    assert!(stranger.reason.contains("esp.example"), "{}", stranger.reason);
    let strict = zone(&[("example.com", "v=DMARC1; p=reject; adkim=s; aspf=s")]);
    let below = judged(
        "example.com",
        Some(("bounce.example.com", SpfResult::Pass)),
        &[("mail.example.com", DkimResult::Pass)],
        &strict,
    );
    assert_eq!(below.result, DmarcResult::Fail);
    let open = judged("example.com", None, &[("example.com", DkimResult::TempError)], &relaxed);
    assert_eq!(open.result, DmarcResult::TempError);
    assert_eq!(judged("none.example", None, &[], &relaxed).result, DmarcResult::None);
    // A subdomain with an organisation of its own is a stranger to its parent.
    let apart = zone(&[("example.com", "v=DMARC1; p=reject"), ("shop.example.com", "v=DMARC1; p=none; psd=n")]);
    assert_eq!(
        judged("example.com", None, &[("shop.example.com", DkimResult::Pass)], &apart).result,
        DmarcResult::Fail
    );
}

proptest! {
    #[test]
    fn a_walk_has_at_most_eight_questions(labels in proptest::collection::vec("[a-z]{1,5}", 1..30)) {
        let domain = labels.join(".");
        let names = names(&domain);
        prop_assert!(names.len() <= 8);
        prop_assert_eq!(&names[0], &domain);
        prop_assert!(names.iter().all(|name| domain.ends_with(name.as_str())));
    }

    #[test]
    fn t50_a_record_that_is_generated_is_read(p in 0_usize..3, tags in proptest::collection::vec(prop_oneof![Just("adkim=s"), Just("aspf=r"), Just("sp=reject"), Just("np=reject"), Just("fo=1:d:s"), Just("psd=n")], 0..6)) {
        let mut tags = tags;
        tags.sort_unstable();
        tags.dedup();
        let policy = ["none", "quarantine", "reject"][p];
        let record = read_record(format!("v=DMARC1; p={policy}; {}; rua=mailto:a@b.example", tags.join("; ")).replace("; ;", ";").as_bytes());
        prop_assert_eq!(record.policy.as_str(), policy);
        prop_assert_eq!(record.problems, vec![]);
    }

    #[test]
    fn any_text_is_read(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_record(&text);
    }
}

#[test]
fn the_date_of_the_list_is_that_of_the_crate_in_use() {
    // The registry's date of this version: whoever updates the crate writes the new one beside the code.
    let lock = include_str!("../../../../Cargo.lock");
    assert!(
        lock.contains("name = \"psl\"\nversion = \"2.1.247\""),
        "psl was updated: LIST_DATE is {}",
        super::LIST_DATE
    );
}
