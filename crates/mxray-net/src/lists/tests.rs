//! Lists of every temper, on 127.0.0.1: RFC 5782's test entries, by family and by name, and what each answer comes to.

use super::*;
use crate::Resolver;
use crate::dns::tests::{Server, asked_name, code, server, with};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{RData, RecordType};
use std::time::{Duration, Instant};

/// 2001:db8::9.
const V6: &str = "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2";
const V6_LISTED: &str = "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0";
const V6_CLEAR: &str = "1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0";
const V4_LISTED: &str = "2.0.0.127";
const V4_CLEAR: &str = "1.0.0.127";

/// What the zones say: an entry in front of a zone, or `*` for all of them, and its last three numbers.
type Entries = &'static [(&'static str, &'static str, &'static [[u8; 4]])];

fn zones(entries: Entries) -> Server {
    let answer = move |asked: &[u8]| {
        let name = asked_name(asked).to_ascii_lowercase();
        if name.ends_with(".fails.example") {
            return code(asked, ResponseCode::ServFail);
        }
        let is = |entry: &str, zone: &str| match entry {
            "*" => name.ends_with(&format!(".{zone}")),
            entry => name == format!("{entry}.{zone}"),
        };
        let Some((_, _, answers)) = entries.iter().find(|(entry, zone, _)| is(entry, zone)) else {
            return code(asked, ResponseCode::NXDomain);
        };
        let kind = Message::from_vec(asked).unwrap().queries[0].query_type();
        let data: Vec<(&str, RData)> = match kind {
            RecordType::A => answers.iter().map(|ip| (name.as_str(), RData::A(A(Ipv4Addr::from(*ip))))).collect(),
            _ => vec![(name.as_str(), RData::TXT(TXT::new(vec!["see \u{7}there".to_owned()])))],
        };
        with(asked, &data)
    };
    server(Box::new(move |asked| vec![answer(asked)]), None)
}

fn list(zone: &str, kinds: &[ListKind]) -> ListZone {
    let text = "zone = 'x'\ntitle = 'x'\nkinds = []\ntier = 1\ngranularity = 'one'\nsource = 'test'\n\
        codes = [{ code = '127.0.0.2', means = 'spam' }, { code = '127.0.0.10-11', means = 'dynamic', policy = true }]";
    let blank: ListZone = toml::from_str(text).unwrap();
    ListZone { zone: zone.to_owned(), title: zone.to_owned(), kinds: kinds.to_vec(), ..blank }
}

fn asked(server: &Server, lists: &[ListZone], subject: &str) -> ListAnswers {
    let subject = match subject.parse() {
        Ok(address) => Listable::Address(address),
        Err(_) => Listable::Name(subject.to_owned()),
    };
    let until = Instant::now() + Duration::from_secs(20);
    let run = Evaluations::new(Resolver::new(vec![server.address]), until, Duration::from_secs(5));
    ask_lists(lists, &[subject], &run)
}

/// One list, one subject: what it says, and why nothing can be said.
fn row(server: &Server, list: &ListZone, subject: &str) -> ListRow {
    let mut rows = asked(server, std::slice::from_ref(list), subject).rows;
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

fn unknown(row: &ListRow, words: &str) {
    assert_eq!(row.state, ListState::Unknown, "{row:?}");
    assert!(row.why.as_ref().unwrap().contains(words), "{words}: {row:?}");
}

const SPAM: &[[u8; 4]] = &[[127, 0, 0, 2]];

#[test]
fn t34_a_list_may_be_dead_for_one_family_and_well_for_the_other() {
    let server = zones(&[
        (V4_LISTED, "four.example", SPAM),
        ("9.2.0.192", "four.example", SPAM),
        (V6, "four.example", SPAM),
        (V6_LISTED, "six.example", SPAM),
        (V6, "six.example", SPAM),
        (V4_LISTED, "both.example", SPAM),
        (V6_LISTED, "both.example", SPAM),
        (V6_CLEAR, "both.example", SPAM),
    ]);
    let both = [ListKind::Ipv4, ListKind::Ipv6];
    let four = list("four.example", &both);
    assert_eq!(row(&server, &four, "192.0.2.9").state, ListState::Listed);
    assert_eq!(row(&server, &four, "::ffff:192.0.2.9").state, ListState::Listed, "a mapped address is one of IPv4");
    unknown(&row(&server, &four, "2001:db8::9"), "dead");
    let six = list("six.example", &both);
    assert_eq!(row(&server, &six, "2001:db8::9").state, ListState::Listed);
    unknown(&row(&server, &six, "192.0.2.9"), "dead");
    let broken = list("both.example", &both);
    assert_eq!(row(&server, &broken, "192.0.2.9").state, ListState::NotListed);
    unknown(&row(&server, &broken, "2001:db8::9"), "yes to everything");
    // Of a family that it does not keep, it is not asked.
    assert_eq!(asked(&server, &[list("four.example", &[ListKind::Ipv4])], "2001:db8::9").rows, []);
}

#[test]
fn t34_lists_of_names_have_test_and_invalid() {
    let server = zones(&[
        ("test", "well.example", SPAM),
        ("bad.example.org", "well.example", SPAM),
        ("bad.example.org", "dead.example", SPAM),
        ("*", "all.example", SPAM),
        ("dbltest.com", "own.example", SPAM),
        ("bad.example.org", "own.example", SPAM),
    ]);
    let names = |zone: &str| list(zone, &[ListKind::Domain]);
    assert_eq!(row(&server, &names("well.example"), "bad.example.org").state, ListState::Listed);
    assert_eq!(row(&server, &names("well.example"), "good.example.org").state, ListState::NotListed);
    unknown(&row(&server, &names("dead.example"), "bad.example.org"), "dead");
    unknown(&row(&server, &names("dead.example"), "good.example.org"), "dead");
    unknown(&row(&server, &names("all.example"), "good.example.org"), "yes to everything");
    unknown(&row(&server, &names("own.example"), "bad.example.org"), "dead");
    let own = ListZone { listed: Some("dbltest.com".to_owned()), ..names("own.example") };
    assert_eq!(row(&server, &own, "bad.example.org").state, ListState::Listed);
}

#[test]
fn t30_a_refusal_of_the_very_question_is_no_listing_and_no_clean_bill() {
    for last in [252, 254, 255, 250] {
        let answers: &'static [[u8; 4]] = Box::leak(Box::new([[127, 255, 255, last]]));
        let entries: Entries = Box::leak(Box::new([
            (V4_LISTED, "now.example", SPAM),
            ("9.2.0.192", "now.example", answers),
            ("*", "always.example", answers),
        ]));
        let server = zones(entries);
        let now = row(&server, &list("now.example", &[ListKind::Ipv4]), "192.0.2.9");
        assert_eq!((now.state, now.refused), (ListState::Unknown, true), "{last}");
        assert_eq!(now.answers, [format!("127.255.255.{last}")]);
        let always = row(&server, &list("always.example", &[ListKind::Ipv4]), "192.0.2.9");
        assert!(matches!(always.health, ListHealth::Refused { .. }), "{always:?}");
        assert_eq!(always.state, ListState::Unknown);
    }
}

#[test]
fn t32_what_an_answer_means_is_the_lists_own_business() {
    let server = zones(&[
        (V4_LISTED, "codes.example", SPAM),
        ("1.2.0.192", "codes.example", &[[127, 0, 0, 10]]),
        ("2.2.0.192", "codes.example", &[[127, 0, 0, 11], [127, 0, 0, 2]]),
        ("3.2.0.192", "codes.example", &[[127, 0, 0, 77]]),
        ("4.2.0.192", "codes.example", &[[127, 0, 0, 2], [127, 0, 0, 77]]),
        (V4_LISTED, "first.example", &[[127, 0, 0, 99]]),
        ("1.2.0.192", "first.example", SPAM),
    ]);
    let codes = list("codes.example", &[ListKind::Ipv4]);
    let policy = row(&server, &codes, "192.0.2.1");
    assert_eq!((policy.state, policy.policy), (ListState::Listed, true));
    let both = row(&server, &codes, "192.0.2.2");
    assert_eq!((both.state, both.policy, both.meanings.len()), (ListState::Listed, false, 2));
    assert_eq!(both.texts, ["see \\u{7}there"]);
    unknown(&row(&server, &codes, "192.0.2.3"), "no documented answer");
    unknown(&row(&server, &codes, "192.0.2.4"), "no documented answer");
    // A test entry may have a code of its own.
    assert_eq!(row(&server, &list("first.example", &[ListKind::Ipv4]), "192.0.2.1").state, ListState::Listed);
}

#[test]
fn t33_what_is_no_answer_of_a_list_is_never_a_listing() {
    let server = zones(&[
        (V4_LISTED, "plain.example", SPAM),
        ("1.2.0.192", "plain.example", &[[127, 0, 0, 1]]),
        ("2.2.0.192", "plain.example", &[[203, 0, 113, 80]]),
        ("3.2.0.192", "plain.example", &[[0, 0, 0, 0]]),
        ("*", "sold.example", &[[203, 0, 113, 80]]),
        ("*", "parked.example", &[[127, 0, 0, 1]]),
        ("*", "wild.example", SPAM),
        (V4_LISTED, "gone.example", &[[203, 0, 113, 80]]),
    ]);
    let plain = list("plain.example", &[ListKind::Ipv4]);
    unknown(&row(&server, &plain, "192.0.2.1"), "never a listing");
    unknown(&row(&server, &plain, "192.0.2.2"), "rewrites");
    unknown(&row(&server, &plain, "192.0.2.3"), "rewrites");
    assert_eq!(row(&server, &plain, "192.0.2.4").state, ListState::NotListed);
    for (zone, why) in [
        ("sold.example", "sold"),
        ("parked.example", "never a listing"),
        ("wild.example", "yes to everything"),
        ("gone.example", "sold"),
    ] {
        let row = row(&server, &list(zone, &[ListKind::Ipv4]), "192.0.2.1");
        assert!(matches!(row.health, ListHealth::Unhealthy { .. }), "{row:?}");
        unknown(&row, why);
    }
}

#[test]
fn a_list_whose_servers_fail_is_not_known_and_costs_the_others_nothing() {
    let server = zones(&[(V4_LISTED, "well.example", SPAM), (V4_CLEAR, "none.example", &[])]);
    let both = [list("fails.example", &[ListKind::Ipv4]), list("well.example", &[ListKind::Ipv4])];
    let answers = asked(&server, &both, "192.0.2.9");
    assert_eq!(answers.rewrites, Seen::Value(false));
    let states: Vec<&ListState> = answers.rows.iter().map(|row| &row.state).collect();
    assert_eq!(states, [&ListState::Unknown, &ListState::NotListed]);
    unknown(&answers.rows[0], "SERVFAIL");
}

#[test]
fn t33_a_resolver_that_makes_up_what_is_not_there_spoils_every_list() {
    let server = zones(&[("*", "invalid", &[[198, 51, 100, 1]]), (V4_LISTED, "well.example", SPAM)]);
    let answers = asked(&server, &[list("well.example", &[ListKind::Ipv4])], "192.0.2.9");
    assert_eq!(answers.rewrites, Seen::Value(true));
    unknown(&answers.rows[0], "makes up addresses");
}

#[test]
fn t36_subjects_and_test_entries_as_rfc_5782_has_them() {
    let catalogue = ListCatalogue::built_in().unwrap();
    let list = |zone: &str| catalogue.lists.iter().find(|list| list.zone == zone).unwrap();
    let zen = list("zen.spamhaus.org");
    let of = |text: &str| Listable::Address(text.parse().unwrap()).within(zen);
    assert_eq!(of("192.0.2.99"), "99.2.0.192.zen.spamhaus.org");
    assert_eq!(of("::ffff:192.0.2.99"), "99.2.0.192.zen.spamhaus.org");
    let v6 = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.zen.spamhaus.org";
    assert_eq!(of("2001:db8:1:2:3:4:567:89ab"), v6);
    let entry = listed_entry(zen, ListKind::Ipv6);
    assert_eq!(entry, "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.zen.spamhaus.org");
    assert_eq!(clear_entry(zen, ListKind::Ipv4), "1.0.0.127.zen.spamhaus.org");
    let name = Listable::Name("mail.sub.example.co.uk".to_owned());
    assert_eq!(name.within(list("multi.uribl.com")), "example.co.uk.multi.uribl.com");
    assert_eq!(name.within(list("dbl.spamhaus.org")), "mail.sub.example.co.uk.dbl.spamhaus.org");
}
