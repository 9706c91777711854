//! Where to connect: what was typed, the names behind it, each address in turn.

use super::TalkArgs;
use crate::config::Config;
use crate::outside::target::{self, Service, Target};
use mxray_model::Seen;
use mxray_model::evidence::{DnsOutcome, Purpose, RecordData, SessionProtocol, TlsMode, standard_service};
use mxray_net::{DialPlan, Resolver, Stream, dial, dial_unix};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long one address may take to answer: longer than the second retransmission of a SYN (3 s).
const DIAL_PATIENCE: Duration = Duration::from_secs(10);
/// How long names may take: a resolver that does not answer, and then the next one.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(15);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// The other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Host { host: String, port: u16 },
    Exchanger { domain: String },
    Unix(PathBuf),
}

/// What is to be spoken, and with whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub place: Place,
    pub protocol: SessionProtocol,
    pub implicit_tls: bool,
    pub starttls: bool,
}

/// A connection that stands.
#[derive(Debug)]
pub struct Connected {
    pub stream: Stream,
    /// The name, for TLS; `None`: there is none.
    pub name: Option<String>,
    /// For a person.
    pub peer: String,
    /// Nobody else can read along.
    pub private: bool,
}

/// Understands a target and the options that bear on it.
///
/// # Errors
/// A sentence: what was typed makes no sense.
pub fn wanted(args: &TalkArgs) -> Result<Wanted, String> {
    let typed = args.target.as_str();
    let (place, protocol, tls) = match typed.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => (Place::Unix(path.into()), SessionProtocol::Smtp, TlsMode::Starttls),
        Some(path) => return Err(format!("unix:{path}: the path has to begin with a slash")),
        None => match target::parse(typed)? {
            Target::Host(host) => by_port(host, 25),
            Target::Service(Service { host, port, protocol, tls, purpose: _ }) => {
                (Place::Host { host, port }, protocol, tls)
            }
            Target::Exchangers { domain, .. } => {
                (Place::Exchanger { domain }, SessionProtocol::Smtp, TlsMode::Starttls)
            }
        },
    };
    let protocol = args.protocol.map_or(protocol, Into::into);
    let implicit_tls = args.tls || (tls == TlsMode::Implicit && !args.plain);
    let starttls = args.starttls || (tls == TlsMode::StarttlsRequired && !args.plain);
    if implicit_tls && starttls {
        return Err(format!("{typed}: TLS from the first byte and STARTTLS exclude each other"));
    }
    Ok(Wanted { place, protocol, implicit_tls, starttls })
}

fn by_port(host: String, port: u16) -> (Place, SessionProtocol, TlsMode) {
    let usual = standard_service(port).unwrap_or((SessionProtocol::Smtp, TlsMode::Starttls, Purpose::Other));
    (Place::Host { host, port }, usual.0, usual.1)
}

/// Opens the connection; `say` is told what each address answered.
///
/// # Errors
/// A sentence: nobody answered.
pub fn connect(
    wanted: &Wanted,
    args: &TalkArgs,
    config: &Config,
    say: &mut dyn FnMut(&str),
) -> Result<Connected, String> {
    match &wanted.place {
        Place::Unix(path) => {
            let shown = mxray_model::text::untrusted(path.as_os_str().as_encoded_bytes());
            let stream =
                dial_unix(path, Instant::now() + DIAL_PATIENCE).map_err(|error| format!("{shown}: {error}"))?;
            say(&format!("connected to {shown}"));
            Ok(Connected { stream, name: None, peer: format!("unix:{shown}"), private: true })
        }
        Place::Host { host, port } => to_host(host, *port, args, &resolver(config), say),
        Place::Exchanger { domain } => to_exchanger(domain, args, &resolver(config), say),
    }
}

/// The configured servers, or the system's.
fn resolver(config: &Config) -> Resolver {
    let configured = &config.settings.dns.servers;
    if !configured.is_empty() {
        return Resolver::new(configured.clone());
    }
    let system = mxray_host::resolver::look(BTreeSet::new(), &Seen::Absent).system.resolv_conf;
    Resolver::system(&system).unwrap_or_default()
}

/// The exchangers of a domain in the order of their preference, until one answers (RFC 5321 section 5.1).
fn to_exchanger(
    domain: &str,
    args: &TalkArgs,
    resolver: &Resolver,
    say: &mut dyn FnMut(&str),
) -> Result<Connected, String> {
    let lookup = resolver.lookup("MX", domain, Instant::now() + LOOKUP_PATIENCE);
    let mut exchangers: Vec<(u16, String)> = lookup
        .records
        .iter()
        .filter_map(|record| match &record.data {
            RecordData::Mx { preference, exchange } => Some((*preference, exchange.clone())),
            _ => None,
        })
        .collect();
    exchangers.sort();
    if exchangers.iter().any(|(_, name)| matches!(name.as_str(), "." | "")) {
        return Err(format!("{domain} takes no mail: its MX record is the null MX (RFC 7505)"));
    }
    if exchangers.is_empty() {
        let unknown = |why: &str| Err(format!("{domain}: its MX records could not be looked up: {why}"));
        return match &lookup.outcome {
            // Without MX the domain's own addresses are the exchanger (RFC 5321 section 5.1).
            DnsOutcome::NoData | DnsOutcome::Found => {
                say(&format!("{domain} has no MX record; its own addresses take its mail"));
                to_host(domain, 25, args, resolver, say)
            }
            DnsOutcome::NoSuchName => Err(format!("{domain}: there is no such name")),
            DnsOutcome::Refused { rcode } => unknown(rcode),
            DnsOutcome::NoAnswer { .. } => unknown("no name server answered"),
            DnsOutcome::NotAsked(blind) => unknown(&blind.why()),
        };
    }
    let mut last = String::new();
    for (preference, name) in exchangers {
        let name = name.trim_end_matches('.').to_owned();
        say(&format!("{domain} has its mail taken by {name} (preference {preference})"));
        match to_host(&name, 25, args, resolver, say) {
            Ok(connected) => return Ok(connected),
            Err(error) => {
                say(&error);
                last = error;
            }
        }
    }
    Err(last)
}

fn to_host(
    host: &str,
    port: u16,
    args: &TalkArgs,
    resolver: &Resolver,
    say: &mut dyn FnMut(&str),
) -> Result<Connected, String> {
    let addresses: Vec<IpAddr> = match mxray_host::routes::resolve(host) {
        Some(known) => known,
        None => match resolver.addresses(host, Instant::now() + LOOKUP_PATIENCE).addresses {
            Seen::Value(found) => found,
            Seen::Absent => return Err(format!("{host}: there is no such name, or it has no address")),
            Seen::Unknown(blind) => {
                return Err(format!("{host}: its addresses could not be looked up: {}", blind.why()));
            }
        },
    };
    let fits = |address: &IpAddr| {
        (!args.ipv4 || address.is_ipv4())
            && (!args.ipv6 || address.is_ipv6())
            && args.source.is_none_or(|source| source.is_ipv4() == address.is_ipv4())
    };
    let all = addresses.len();
    let addresses: Vec<IpAddr> = addresses.into_iter().filter(fits).take(ADDRESSES_MAX).collect();
    if addresses.is_empty() {
        return Err(format!("{host}: none of its {all} addresses is of the family that was asked for"));
    }
    let is_name = host.parse::<IpAddr>().is_err();
    let mut last = String::new();
    for address in addresses {
        let peer = SocketAddr::new(address, port);
        let shown = if is_name { format!("{peer} ({host})") } else { peer.to_string() };
        let (dialled, stream) = dial(DialPlan { peer, source: args.source }, Instant::now() + DIAL_PATIENCE);
        if let Some(stream) = stream {
            say(&format!("connected to {shown} in {} ms", dialled.took_ms));
            let name = is_name.then(|| host.to_owned());
            return Ok(Connected { stream, name, peer: peer.to_string(), private: address.is_loopback() });
        }
        last = format!("{shown}: {}", dialled.outcome.as_str());
        say(&last);
    }
    Err(last)
}
