//! `mxray lists`: which blocklists and allow lists have an address or a domain, and which of them can be believed.
//!
//! `show.rs` prints. What must not live here: the catalogue and the questions (`mxray-net`).

mod show;

use crate::cli::{ListFormat, ListFormatArgs};
use crate::config::Config;
use crate::config::parse::{self, FailOn, ListedZone};
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::output::Output;
use crate::outside::names;
use mxray_model::text::untrusted;
use mxray_model::{Severity, Unseen};
use mxray_net::{
    ClosedList, CodeRange, Evaluations, ListAnswers, ListCatalogue, ListCode, ListKind, ListName, ListRow, ListState,
    ListZone, Listable, ask_lists, wire_name,
};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(4);
/// Whoever asks for more is not diagnosing any more, and lists refuse it.
const SUBJECTS_MAX: usize = 64;

const EXAMPLES: &str = "\
Examples:
  mxray lists 192.0.2.25
      every list of the catalogue that has IPv4 addresses
  mxray lists 192.0.2.25 2001:db8::25 example.org
      addresses and a domain, each at the lists of its kind
  mxray lists 192.0.2.25 --resolver 192.0.2.53
      by another name server: lists refuse public ones
  mxray lists 192.0.2.25 --json | jq '.rows[] | select(.state == \"listed\")'

More lists stand in the configuration: [lists] zones.
A list that does not know its own test entry, refuses us, or says yes to
everything is `unknown`, whatever it answers.
";

/// Ask blocklists and allow lists about addresses and domains, and each list about its test entries.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ListsArgs {
    /// Addresses, and domain names (A-labels or U-labels) at lists of domains; a name's addresses are not asked for
    #[arg(value_name = "IP|NAME", required = true)]
    pub subjects: Vec<String>,

    /// Ask this name server instead of the system's, or of [dns] servers; may be repeated
    #[arg(long, value_name = "ADDR[:PORT]", value_parser = parse::server)]
    pub resolver: Vec<SocketAddr>,

    /// All is over after this many seconds; lists that have not answered then are unknown [default: 15]
    #[arg(long, value_name = "SECONDS", value_parser = parse::deadline)]
    pub deadline: Option<Duration>,

    /// One question is waited for this many seconds [default: 4]
    #[arg(long, value_name = "SECONDS", value_parser = parse::deadline)]
    pub patience: Option<Duration>,

    /// Exit with 1 when a listing is at least this severe: error (a list that many receivers use), warning (no mail is
    /// expected from there), notice (others), or never [default: error]
    #[arg(long, value_name = "LEVEL", value_parser = parse::fail_on)]
    pub fail_on: Option<FailOn>,

    #[command(flatten)]
    pub output: ListFormatArgs,
}

/// What is printed.
pub struct Told {
    pub answers: ListAnswers,
    pub dropped: Vec<ClosedList>,
    pub unseen: Vec<Unseen>,
    pub checked: String,
}

/// Asks and prints. 0: at least one list could be believed; 1: a listing reaches `--fail-on`; 2: nothing is known.
pub fn run(
    args: &ListsArgs,
    format: ListFormat,
    config: &Config,
    environment: &Environment,
    output: &mut Output,
) -> Result<u8, Failure> {
    let subjects = subjects(&args.subjects).map_err(Failure::Usage)?;
    let deadline = match args.deadline {
        Some(deadline) => deadline,
        None => environment.deadline().map_err(Failure::Usage)?.unwrap_or(DEADLINE),
    };
    let (lists, dropped, checked) = catalogue(&config.settings.lists.zones)?;
    let servers = if args.resolver.is_empty() { &config.settings.dns.servers } else { &args.resolver };
    let resolver = names::servers(servers);
    let run = Evaluations::new(resolver, Instant::now() + deadline, args.patience.unwrap_or(PATIENCE));
    let answers = ask_lists(&lists, &subjects, &run);
    let unseen = unseen(&answers.rows);
    let told = Told { answers, dropped, unseen, checked };
    match format {
        ListFormat::Json => output.emit(|out| show::json(&told, out))?,
        ListFormat::Text => {
            let options = output.options();
            output.emit(|out| show::text(&told, &options, out))?;
        }
    }
    let level = match args.fail_on {
        Some(FailOn(level)) => level,
        None => environment.fail_on().map_err(Failure::Usage)?.unwrap_or(Some(Severity::Error)),
    };
    Ok(code(&told.answers.rows, level))
}

fn code(rows: &[ListRow], level: Option<Severity>) -> u8 {
    let reaches = |row: &ListRow| level.is_some_and(|level| severity(row).is_some_and(|severity| severity >= level));
    if rows.iter().any(reaches) {
        return exit::FINDING;
    }
    match rows.iter().all(|row| row.state == ListState::Unknown) {
        true => exit::UNANSWERED,
        false => exit::OK,
    }
}

/// How much a listing weighs, as the rules have it. `None`: it is no listing, or a good one.
pub fn severity(row: &ListRow) -> Option<Severity> {
    mxray_rules::listing_severity(&mxray_engine::listing(row.clone()))
}

fn subjects(texts: &[String]) -> Result<Vec<Listable>, String> {
    if texts.len() > SUBJECTS_MAX {
        return Err(format!("more than {SUBJECTS_MAX} addresses and names: lists are not for that"));
    }
    let mut all: Vec<Listable> = Vec::new();
    for text in texts {
        let subject = subject(text)?;
        if !all.contains(&subject) {
            all.push(subject);
        }
    }
    Ok(all)
}

fn subject(text: &str) -> Result<Listable, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<std::net::IpAddr>() {
        return Ok(Listable::Address(address.to_canonical()));
    }
    let wrong = |why: String| format!("{}: {why}", untrusted(text.as_bytes()));
    let name = wire_name(text).map_err(|error| wrong(error.to_string()))?;
    let name = parse::domain(&name).map_err(|_| wrong("neither an address nor a domain name".to_owned()))?;
    Ok(Listable::Name(name))
}

/// The lists that are asked, those that are not, and how old the catalogue is.
pub fn catalogue(own: &[ListedZone]) -> Result<(Vec<ListZone>, Vec<ClosedList>, String), Failure> {
    let mut catalogue =
        ListCatalogue::built_in().map_err(|error| Failure::Unanswered(format!("the catalogue: {error}")))?;
    for zone in own {
        if catalogue.closed(&zone.zone).is_none() {
            catalogue.add(of_user(zone)?);
        }
    }
    Ok((catalogue.lists, catalogue.closed, catalogue.checked))
}

fn of_user(zone: &ListedZone) -> Result<ListZone, Failure> {
    use parse::ListKind as Kind;
    let name = wire_name(&zone.zone)
        .map_err(|error| Failure::Config(format!("mxray: [lists] zones: {}: {error}", zone.zone)))?;
    let kinds = match zone.kind {
        Kind::Ipv4 => vec![ListKind::Ipv4],
        Kind::Ipv6 => vec![ListKind::Ipv6],
        Kind::Domain => vec![ListKind::Domain],
        Kind::Allow => vec![ListKind::Ipv4, ListKind::Ipv6],
    };
    let code = |(code, means): (&std::net::Ipv4Addr, &String)| ListCode {
        code: CodeRange::one(*code),
        means: untrusted(means.as_bytes()),
        policy: false,
        refusal: false,
    };
    Ok(ListZone {
        title: name.clone(),
        zone: name,
        kinds,
        allow: zone.kind == Kind::Allow,
        tier: zone.tier,
        netblock: false,
        granularity: "not said".to_owned(),
        delisting: None,
        source: "configuration, [lists] zones".to_owned(),
        name: ListName::Full,
        listed: None,
        clear: None,
        codes: zone.codes.iter().map(code).collect(),
        bits: Vec::new(),
        scheme: None,
    })
}

fn unseen(rows: &[ListRow]) -> Vec<Unseen> {
    let unknown = rows.iter().filter(|row| row.state == ListState::Unknown);
    unknown
        .map(|row| Unseen {
            what: format!("{} at {}", row.subject, row.zone),
            why: row.why.clone().unwrap_or_default(),
            needs: "a resolver of one's own that the list answers (--resolver)".to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_net::ListHealth;

    fn row(state: ListState, tier: u8) -> ListRow {
        ListRow {
            subject: "192.0.2.1".to_owned(),
            kind: ListKind::Ipv4,
            list: "x".to_owned(),
            zone: "x.example".to_owned(),
            allow: false,
            tier,
            netblock: false,
            state,
            policy: false,
            meanings: Vec::new(),
            texts: Vec::new(),
            why: None,
            refused: false,
            asked: String::new(),
            answers: Vec::new(),
            health: ListHealth::Healthy,
            granularity: String::new(),
            delisting: None,
            source: String::new(),
        }
    }

    #[test]
    fn t35_lists_weigh_by_what_receivers_do_with_them() {
        let listed = || row(ListState::Listed, 1);
        assert_eq!(severity(&listed()), Some(Severity::Error));
        assert_eq!(severity(&ListRow { policy: true, ..listed() }), Some(Severity::Warning));
        assert_eq!(severity(&ListRow { netblock: true, ..listed() }), Some(Severity::Notice));
        assert_eq!(severity(&row(ListState::Listed, 2)), Some(Severity::Notice));
        assert_eq!(severity(&ListRow { allow: true, ..listed() }), None);
        assert_eq!(severity(&row(ListState::Unknown, 1)), None);
    }

    #[test]
    fn exit_codes() {
        let error = Some(Severity::Error);
        assert_eq!(code(&[row(ListState::Listed, 1), row(ListState::Unknown, 1)], error), exit::FINDING);
        assert_eq!(code(&[row(ListState::Listed, 1)], None), exit::OK);
        assert_eq!(code(&[row(ListState::Listed, 2)], error), exit::OK);
        assert_eq!(code(&[row(ListState::NotListed, 2), row(ListState::Unknown, 1)], error), exit::OK);
        assert_eq!(code(&[row(ListState::Unknown, 1)], error), exit::UNANSWERED);
    }

    #[test]
    fn t34_closed_lists_are_not_asked_whoever_wants_them() {
        let own = |zone: &str| ListedZone {
            zone: zone.to_owned(),
            kind: parse::ListKind::Ipv4,
            codes: std::collections::BTreeMap::new(),
            tier: 3,
        };
        let (lists, dropped, _) = catalogue(&[own("dnsbl.sorbs.net"), own("bl.b\u{fc}cher.example")]).unwrap();
        assert!(lists.iter().all(|list| list.zone != "dnsbl.sorbs.net"));
        assert!(lists.iter().any(|list| list.zone == "bl.xn--bcher-kva.example"));
        assert!(dropped.iter().any(|closed| closed.zone == "dnsbl.sorbs.net" && closed.since == "2024-06-05"));
    }

    #[test]
    fn subjects_are_addresses_or_names() {
        assert_eq!(subject("::ffff:192.0.2.1").unwrap().shown(), "192.0.2.1");
        assert_eq!(subject("[2001:db8::1]").unwrap().kind(), ListKind::Ipv6);
        assert_eq!(subject("B\u{fc}cher.example.").unwrap(), Listable::Name("xn--bcher-kva.example".to_owned()));
        for wrong in ["", "localhost", "a@b.example", "192.0.2.0/24", "a b.example"] {
            assert!(subject(wrong).is_err(), "{wrong}");
        }
    }
}
