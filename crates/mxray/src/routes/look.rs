//! One look: what is configured, or the kernel's answers for whom and where they were asked for.

use super::RoutesArgs;
use mxray_host::programs::Programs;
use mxray_host::routes::{self, Answer, Kind, LOCAL, Looker, Neighbour, Question, Tables, TalkError};
use mxray_host::{mta, names};
use mxray_model::evidence::{Refuser, Server};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen, Unseen};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The mail server's configuration is asked for within this; a program that hangs costs its answer, not ours.
const SERVERS_WITHIN: Duration = Duration::from_secs(5);
/// Destinations of one call.
const DESTINATIONS_MAX: usize = 10_000;

/// Why there is no answer.
pub enum Stop {
    Usage(String),
    Blind(Blind),
}

impl From<TalkError> for Stop {
    fn from(error: TalkError) -> Self {
        Stop::Blind(error.blind())
    }
}

/// Everything that is configured.
pub struct Listing {
    pub tables: Tables,
    pub neighbours: Vec<Neighbour>,
    pub unseen: Vec<Unseen>,
}

impl Listing {
    /// # Errors
    /// The kernel could not be asked.
    pub fn look(all: bool) -> Result<Listing, Stop> {
        let mut tables = routes::look()?;
        let mut unseen = Vec::new();
        if tables.routes_left_out > 0 {
            unseen.push(Unseen {
                what: "routes".to_owned(),
                why: format!("{} more than the {} that are kept", tables.routes_left_out, routes::ROUTES_MAX),
                needs: "mxray routes DEST, which asks the kernel about all of them".to_owned(),
            });
        }
        if tables.has_rules_left_out() {
            let why = "more than are kept".to_owned();
            unseen.push(Unseen { what: "routing rules".to_owned(), why, needs: String::new() });
        }
        if !all {
            let own = |kind: Kind| matches!(kind, Kind::Local | Kind::Broadcast | Kind::Multicast | Kind::Anycast);
            // A local route outside of the kernel's own table was made by somebody.
            tables.routes.retain(|route| route.table != LOCAL || !own(route.kind) || route.protocol != KERNEL);
        }
        tables.routes.sort_by_key(|route| {
            let place = (route.destination.address, route.destination.length, route.metric);
            (!route.is_ipv4(), u32::MAX - route.table, place)
        });
        let mut neighbours: Vec<Neighbour> = routes::neighbours()?;
        neighbours.retain(|neighbour| all || !(neighbour.address.is_multicast() || neighbour.address.is_unspecified()));
        neighbours.sort_by_key(|neighbour| (neighbour.interface, neighbour.address));
        Ok(Listing { tables, neighbours, unseen })
    }
}

/// RTPROT_KERNEL
const KERNEL: u8 = 2;

/// For whom the kernel is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    pub uid: Option<u32>,
    /// The user's name, where it is known.
    pub user: String,
    /// The mail server that it is the user of.
    pub server: Option<String>,
    /// What it binds to, by configuration or by `--from`.
    pub sources: Vec<IpAddr>,
}

/// One destination with the kernel's answer.
pub struct Row {
    pub asked: String,
    pub question: Question,
    pub asker: Asker,
    /// `None`: the source is not this host's, so a program would not even get to connect.
    pub answer: Option<Answer>,
    pub refuser: Seen<Refuser>,
    /// The rule that led to the answer. `None`: it could not be told.
    pub rule: Option<String>,
    pub neighbour: Option<Neighbour>,
}

/// Answers about destinations.
pub struct Answers {
    pub rows: Vec<Row>,
    pub tables: Tables,
    pub unseen: Vec<Unseen>,
}

impl Answers {
    /// # Errors
    /// A word that names nothing; the kernel could not be asked.
    pub fn ask(args: &RoutesArgs) -> Result<Answers, Stop> {
        let destinations = destinations(&args.destinations)?;
        let mut looker = Looker::open()?;
        let tables = routes::look()?;
        let mut unseen = Vec::new();
        let askers = askers(args, &mut unseen)?;
        let mut rows = Vec::new();
        for (asked, destination) in &destinations {
            for asker in &askers {
                for source in sources(asker, *destination) {
                    let (uid, mark) = (asker.uid, args.mark.unwrap_or(0));
                    let port = args.port.unwrap_or(25);
                    let question = Question { destination: *destination, source, uid, mark, port };
                    rows.push(row(asked, asker, question, &mut looker)?);
                }
            }
        }
        let addresses: BTreeSet<IpAddr> = destinations.iter().map(|(_, address)| *address).collect();
        let towards = if tables.routes_left_out > 0 { Some(routes::routes_towards(&addresses)?) } else { None };
        let neighbours = routes::neighbours()?;
        for row in &mut rows {
            explain(row, &tables, towards.as_deref().unwrap_or(&tables.routes), &neighbours);
        }
        Ok(Answers { rows, tables, unseen })
    }
}

fn destinations(words: &[String]) -> Result<Vec<(String, IpAddr)>, Stop> {
    if words.len() > DESTINATIONS_MAX {
        return Err(Stop::Usage(format!("more than {DESTINATIONS_MAX} destinations")));
    }
    let mut found = Vec::new();
    for word in words {
        let shown = untrusted(word.as_bytes());
        let addresses = routes::resolve(word).ok_or_else(|| {
            Stop::Usage(format!("{shown}: neither an address, a network, nor a name in /etc/hosts (DNS is not asked)"))
        })?;
        found.extend(addresses.into_iter().map(|address| (shown.clone(), address)));
    }
    Ok(found)
}

fn sources(asker: &Asker, destination: IpAddr) -> Vec<Option<IpAddr>> {
    let same = asker.sources.iter().filter(|source| source.is_ipv4() == destination.is_ipv4());
    let found: Vec<Option<IpAddr>> = same.map(|source| Some(*source)).collect();
    if found.is_empty() { vec![None] } else { found }
}

fn row(asked: &str, asker: &Asker, question: Question, looker: &mut Looker) -> Result<Row, Stop> {
    let answer = match question.source {
        Some(source) if !looker.is_local(source)? => None,
        _ => Some(looker.lookup(&question)?),
    };
    Ok(Row {
        asked: asked.to_owned(),
        question,
        asker: asker.clone(),
        answer,
        refuser: Seen::Absent,
        rule: None,
        neighbour: None,
    })
}

fn explain(row: &mut Row, tables: &Tables, towards: &[routes::Route], neighbours: &[Neighbour]) {
    let Some(answer) = &row.answer else { return };
    let mut question = row.question;
    // Rules by user hold for whoever asks, where nobody else was named.
    question.uid = question.uid.or_else(|| Some(rustix::process::geteuid().as_raw()));
    let walk = routes::walk(&tables.rules, towards, &question);
    if walk.ends_as(answer.end()) {
        row.rule = walk.rule.map(|rule| format!("{}: {}", rule.priority, rule.text()));
    }
    match &answer.outcome {
        Err(_) => row.refuser = routes::refuser(tables, towards, &question, answer),
        Ok(route) => {
            let hop = route.hops.first().copied().unwrap_or_default();
            let next = hop.gateway.unwrap_or(question.destination);
            row.neighbour = neighbours
                .iter()
                .find(|neighbour| neighbour.address == next && neighbour.interface == hop.interface)
                .cloned();
        }
    }
}

/// Who is asked for: what was typed, else the mail servers found here, else ourselves.
fn askers(args: &RoutesArgs, unseen: &mut Vec<Unseen>) -> Result<Vec<Asker>, Stop> {
    let given = args.user.as_deref().map(user).transpose()?;
    let from: Vec<IpAddr> = args.from.into_iter().collect();
    if let Some((uid, user)) = given.clone().filter(|_| args.from.is_some()) {
        return Ok(vec![Asker { uid: Some(uid), user, server: None, sources: from }]);
    }
    let mut found: Vec<Asker> = Vec::new();
    for (name, server) in senders(unseen) {
        let account = server.egress.account.value();
        let (uid, user) = match (&given, account) {
            (Some((uid, user)), _) => (Some(*uid), user.clone()),
            (None, Some(account)) => (Some(account.uid), account.name.clone()),
            (None, None) => (None, String::new()),
        };
        let sources = match args.from {
            Some(_) => from.clone(),
            None => server.egress.sources.iter().map(|source| source.value).collect(),
        };
        let same = |asker: &Asker| (asker.uid, &asker.sources) == (uid, &sources);
        if !found.iter().any(same) {
            found.push(Asker { uid, user, server: Some(name), sources });
        }
    }
    if found.is_empty() {
        let (uid, user) = given.map_or((None, String::new()), |(uid, user)| (Some(uid), user));
        found.push(Asker { uid, user, server: None, sources: from });
    }
    Ok(found)
}

/// The mail servers that send, by their names.
pub(crate) fn senders(unseen: &mut Vec<Unseen>) -> Vec<(String, Server)> {
    let programs = Programs::new(Instant::now() + SERVERS_WITHIN);
    let mut all: BTreeMap<String, Server> = BTreeMap::new();
    for reader in mta::readers() {
        match reader.servers(&programs) {
            Seen::Value(servers) => all.extend(servers),
            Seen::Absent => {}
            Seen::Unknown(blind) => unseen.push(Unseen {
                what: format!("the user and source address of {}", reader.software()),
                why: blind.why(),
                needs: blind.needs(),
            }),
        }
    }
    programs.end();
    all.into_iter().filter(|(_, server)| server.enabled && server.egress.sends).collect()
}

pub(crate) fn user(text: &str) -> Result<(u32, String), Stop> {
    if let Ok(uid) = text.parse() {
        return Ok((uid, names::users().remove(&uid).unwrap_or_default()));
    }
    match names::account(text) {
        Seen::Value(account) => Ok((account.uid, account.name)),
        Seen::Absent => Err(Stop::Usage(format!("--as {}: no such user in /etc/passwd", untrusted(text.as_bytes())))),
        Seen::Unknown(blind) => Err(Stop::Blind(blind)),
    }
}
