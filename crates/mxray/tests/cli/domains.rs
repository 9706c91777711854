//! `domain NAME…` against name servers on loopback: what is published, and zones that no one should meet.

use super::dns::{self, Reply, Server};
use super::{Scratch, mxray, run, text};
use serde_json::Value;

/// More than any message holds: the server says that it does not fit, over TCP as well.
const TOO_MANY: usize = 10_000;

fn record(name: &str, kind: u16, data: Vec<u8>) -> Reply {
    dns::found(vec![(name.to_owned(), kind, data)])
}

fn words(name: &str, text: &str) -> Reply {
    record(name, dns::TXT, dns::txt(&[text.as_bytes().to_vec()]))
}

/// One domain with what is usual, and several that answer as nobody should.
fn world() -> Server {
    Server::new(|name, kind| match (name, kind) {
        ("big.example", dns::TXT) => dns::found(
            (0..TOO_MANY).map(|n| (name.to_owned(), kind, dns::txt(&[format!("n={n}").into_bytes()]))).collect(),
        ),
        ("loop.example", _) => record(name, dns::CNAME, dns::name("pool.example")),
        ("pool.example", _) => record(name, dns::CNAME, dns::name("loop.example")),
        ("lame.example", _) => dns::code(dns::SERVFAIL),
        ("shut.example", _) => dns::code(dns::REFUSED),
        ("dead.example", _) => Reply::Silence,
        ("cut.example", _) => Reply::Truncated,
        ("xn--qui-dma.example", dns::MX) => record(name, kind, dns::mx(10, "mx.xn--qui-dma.example")),
        ("mx.xn--qui-dma.example", dns::A) => record(name, kind, dns::a([192, 0, 2, 25].into())),
        ("xn--qui-dma.example", dns::TXT) => words(name, "v=spf1 mx ip4:192.0.2.0/28 -all"),
        ("_dmarc.xn--qui-dma.example", dns::TXT) => words(name, "v=DMARC1; p=reject; rua=mailto:r@xn--qui-dma.example"),
        ("s1._domainkey.xn--qui-dma.example", dns::TXT) => words(name, "v=DKIM1; p="),
        (known, _) if known.ends_with("example") && known.split('.').count() < 3 => dns::found(Vec::new()),
        _ => dns::code(dns::NXDOMAIN),
    })
}

fn examined(server: &Server, given: &[&str]) -> (Option<i32>, Value) {
    let resolver = server.resolver();
    let fixed = ["domain", "--json", "--no-connect", "--no-lists", "--patience=1", "--deadline=8", &resolver];
    let output = run(&[&fixed[..], given].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    (output.status.code(), report)
}

fn domain<'a>(report: &'a Value, name: &str) -> &'a Value {
    &report["evidence"]["names"]["domains"][name]
}

#[test]
fn several_domains_in_one_report() {
    let server = world();
    let (_, report) = examined(&server, &["qui\u{e9}.example", "big.example", "--selector", "s1", "--ip", "192.0.2.3"]);
    assert_eq!((&report["schema"], &report["question"]["command"]), (&"mxray/report/1".into(), &"domain".into()));
    let own = domain(&report, "xn--qui-dma.example");
    assert_eq!(own["shown"], "qui\u{e9}.example");
    let host = &own["route"]["value"]["route"]["servers"]["hosts"][0];
    assert_eq!((&host["name"], &host["preference"]), (&"mx.xn--qui-dma.example".into(), &10.into()));
    assert_eq!(own["spf"]["value"]["lookups"], 1);
    assert_eq!(own["dmarc"]["value"]["current"]["policy"], "reject");
    assert!(own["selectors"]["s1"]["keys"]["value"].is_array(), "{own:#}");
    let sender = &report["evidence"]["names"]["senders"]["192.0.2.3"];
    assert_eq!(sender["spf"]["xn--qui-dma.example"]["result"], "pass");
    assert_eq!(sender["pointers"], "absent");
    assert_eq!(report["evidence"]["endpoints"], serde_json::json!({}));
}

#[test]
fn hostile_zones_are_unknown_and_hold_nobody_else() {
    let server = world();
    let all = [
        "big.example",
        "loop.example",
        "lame.example",
        "shut.example",
        "dead.example",
        "cut.example",
        "xn--qui-dma.example",
    ];
    let (code, report) = examined(&server, &all);
    for name in ["lame.example", "shut.example", "dead.example", "cut.example"] {
        let route = &domain(&report, name)["route"];
        let unknown = route["unknown"].is_object() || route["value"]["route"]["unknown"].is_object();
        assert!(unknown, "{name}: {route:#}");
        let gap = format!("where mail for {name} goes");
        assert!(report["unseen"].as_array().unwrap().iter().any(|unseen| unseen["what"] == gap.as_str()), "{name}");
    }
    // A record that cannot be had is no missing one.
    let spf = &domain(&report, "big.example")["spf"];
    assert!(!spf["absent"].is_object() && spf.as_str() != Some("absent"), "{spf:#}");
    let quick = domain(&report, "xn--qui-dma.example");
    assert_eq!(quick["spf"]["value"]["lookups"], 1, "{quick:#}");
    assert_eq!(quick["dmarc"]["value"]["current"]["policy"], "reject");
    let parts = report["evidence"]["parts"].as_object().unwrap();
    assert!(parts.values().all(|part| part["outcome"] == "finished"), "{parts:#?}");
    assert_ne!(report["verdict"], "healthy");
    assert!(code == Some(2) || report["verdict"] != "unknown");
}

#[test]
fn a_domain_that_does_not_exist_is_a_finding() {
    let server = world();
    let (_, report) = examined(&server, &["no.such.example"]);
    assert!(domain(&report, "no.such.example").is_object());
    assert_ne!(report["verdict"], "healthy", "{report:#}");
}

#[test]
fn a_mail_names_the_domain_and_its_selectors() {
    let server = world();
    let scratch = Scratch::new("from-mail");
    let mail = "From: anna@xn--qui-dma.example\r\nDKIM-Signature: v=1; a=rsa-sha256; d=xn--qui-dma.example; s=s1; h=from; bh=; b=\r\n\r\nhello\r\n";
    let file = scratch.file("letter.eml", mail);
    let (_, report) = examined(&server, &["--from-mail", file.to_str().unwrap()]);
    let selectors = &domain(&report, "xn--qui-dma.example")["selectors"];
    assert!(selectors["s1"]["from"][0]["mail"]["file"].as_str().unwrap().ends_with("letter.eml"), "{selectors:#}");
}

#[test]
fn reports_name_the_selectors_that_verified_and_no_others() {
    let server = world();
    let scratch = Scratch::new("from-reports");
    let signature = |selector: &str, result: &str| {
        format!(
            "<dkim><domain>xn--qui-dma.example</domain><selector>{selector}</selector><result>{result}</result></dkim>"
        )
    };
    let xml = format!(
        "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>r</org_name><report_id>1</report_id></report_metadata>\
         <policy_published><domain>xn--qui-dma.example</domain><p>none</p></policy_published><record><row><source_ip>192.0.2.3\
         </source_ip><count>1</count></row><identifiers><header_from>xn--qui-dma.example</header_from></identifiers>\
         <auth_results>{}{}</auth_results></record></feedback>",
        signature("s1", "pass"),
        signature("forged", "fail")
    );
    let file = scratch.file("report.xml", &xml);
    let (_, report) = examined(&server, &["xn--qui-dma.example", "--from-reports", file.to_str().unwrap()]);
    let selectors = domain(&report, "xn--qui-dma.example")["selectors"].as_object().unwrap();
    assert_eq!(selectors.keys().collect::<Vec<_>>(), ["s1"]);
    assert_eq!(selectors["s1"]["from"][0], "report");
    let broken = scratch.file("broken.xml", "<feedback>");
    let output =
        mxray(&["domain", "xn--qui-dma.example", "--from-reports", broken.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", text(&output.stderr));
}

#[test]
fn for_a_person_with_every_step_within_80_columns_and_escaped() {
    let server = world();
    let resolver = server.resolver();
    let words = ["domain", "qui\u{e9}.example", "--trace", "--no-connect", "--no-lists", "--ip=192.0.2.3", &resolver];
    let output = mxray(&words).env("COLUMNS", "80").output().unwrap();
    let shown = text(&output.stdout);
    for part in [
        "qui\u{e9}.example (xn--qui-dma.example)",
        "10 mx.xn--qui-dma.example",
        "SPF of xn--qui-dma.example for 192.0.2.3: pass",
        "_dmarc.xn--qui-dma.example v=DMARC1",
        "60 MX 10 mx.xn--qui-dma.example",
    ] {
        let flat = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn a_saved_examination_is_judged_again() {
    let server = world();
    let scratch = Scratch::new("domain-replay");
    let resolver = server.resolver();
    let output = run(&["domain", "xn--qui-dma.example", "--json", "--no-connect", "--no-lists", &resolver]);
    let file = scratch.file("case.json", &text(&output.stdout));
    let again = run(&["doctor", "--json", "--replay", file.to_str().unwrap()]);
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let (first, second) = (parse(&output.stdout), parse(&again.stdout));
    for key in ["verdict", "summary", "findings", "unseen", "healthy"] {
        assert_eq!(first[key], second[key], "{key}");
    }
}
