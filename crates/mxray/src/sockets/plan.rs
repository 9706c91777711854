//! From what was typed to what it means. No socket is looked at here.

use super::{By, Direction, Format, SocketsArgs, Sort, Terminal};
use crate::watch::{SECONDS_MAX as WATCH_SECONDS_MAX, SECONDS_MIN as WATCH_SECONDS_MIN};
use mxray_host::names::Services;
use mxray_host::processes::AtOnce;
use mxray_host::sockets::{Query, Socket, State};
use mxray_model::{BadPrefix, Prefix};
use std::time::Duration;

/// What was typed makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    #[error(
        "--state {0}: no such state; there are estab, syn-sent, syn-recv, fin-wait-1, fin-wait-2, time-wait, close-wait, last-ack, closing, listen, unconn"
    )]
    State(String),
    #[error("--port {0}: neither a port number nor a name in /etc/services")]
    Port(String),
    #[error("--peer {0}")]
    Peer(#[from] BadPrefix),
    #[error("--watch {0}: seconds between {WATCH_SECONDS_MIN} and {WATCH_SECONDS_MAX}")]
    Watch(f64),
    #[error("--sort {0}: groups are sorted by count or name, rows by everything else")]
    Sort(&'static str),
}

/// What one look asks for and how it is shown.
#[derive(Debug)]
pub struct Plan {
    pub query: Query,
    /// Networks that a peer must be in; empty: any. The kernel knows the query's one alone.
    pub peers: Vec<Prefix>,
    pub unix: bool,
    pub listening: bool,
    pub unit: Option<Glob>,
    pub process: Option<Glob>,
    pub direction: Option<Direction>,
    pub by: Option<By>,
    pub sort: Option<Sort>,
    pub limit: usize,
    pub all: bool,
    pub pids: bool,
    /// How the holders of very many sockets are found without a walk. `None`: by the walk, however many.
    pub at_once: Option<AtOnce>,
    pub info: bool,
    pub watch: Option<Duration>,
    pub format: Format,
    pub terminal: Option<Terminal>,
    pub colour: bool,
    pub services: Services,
}

impl Plan {
    /// # Errors
    /// A word that names nothing; nothing is guessed.
    pub fn new(
        args: &SocketsArgs,
        format: Format,
        terminal: Option<Terminal>,
        colour: bool,
    ) -> Result<Self, UsageError> {
        let services = Services::read();
        let ports = args
            .port
            .iter()
            .map(|text| services.port(text).ok_or_else(|| UsageError::Port(text.clone())))
            .collect::<Result<Vec<u16>, _>>()?;
        // Peers are compared with IPv4 taken out of its wrapping.
        let peer = |text: &String| text.parse().map(Prefix::unmapped);
        let peers = args.peer.iter().map(peer).collect::<Result<Vec<Prefix>, _>>()?;
        let none = !(args.tcp || args.udp || args.unix);
        let json = format != Format::Text;
        let sort = sort(args)?;
        let needs_info = args.info || json || matches!(sort, Some(Sort::Rtt | Sort::Retrans | Sort::Idle));
        let query = Query {
            tcp: args.tcp || none,
            udp: args.udp || none,
            states: states(args)?,
            ports,
            peer: match peers[..] {
                [peer] => Some(peer),
                _ => None,
            },
            info: needs_info && args.by.is_none(),
            memory: json,
        };
        Ok(Plan {
            query,
            peers,
            unix: args.unix,
            listening: args.listening,
            unit: args.unit.as_deref().map(Glob::new),
            process: args.process.as_deref().map(Glob::new),
            direction: args.direction,
            by: args.by,
            sort,
            limit: args.limit.unwrap_or(usize::MAX),
            all: args.all,
            pids: args.pids || args.by == Some(By::Process),
            at_once: (!args.no_bpf).then(AtOnce::default),
            info: args.info,
            watch: args.watch.map(watch).transpose()?,
            format,
            terminal,
            colour,
            services,
        })
    }

    /// What only we can tell of a socket by itself.
    pub fn wants(&self, socket: &Socket) -> bool {
        (self.peers.len() < 2
            || (socket.remote_port != 0 && self.peers.iter().any(|peer| peer.contains(socket.peer()))))
            && (!self.listening || socket.remote_port == 0)
    }
}

fn states(args: &SocketsArgs) -> Result<u32, UsageError> {
    let mut mask = 0;
    for word in &args.state {
        let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
        let wanted = match plain(word).as_str() {
            "established" => "estab".to_owned(),
            "synreceived" => "synrecv".to_owned(),
            word => word.to_owned(),
        };
        let state = State::ALL.into_iter().find(|state| plain(state.name()) == wanted);
        mask |= state.ok_or_else(|| UsageError::State(word.clone()))?.bit();
    }
    if args.listening {
        mask |= State::Listen.bit() | State::Unconnected.bit();
    }
    Ok(mask)
}

fn sort(args: &SocketsArgs) -> Result<Option<Sort>, UsageError> {
    match (args.sort, args.by) {
        (Some(Sort::Count), None) => Err(UsageError::Sort("count")),
        (Some(Sort::Name), None) => Err(UsageError::Sort("name")),
        (Some(Sort::Count | Sort::Name) | None, _) | (Some(_), None) => Ok(args.sort),
        (Some(_), Some(_)) => Err(UsageError::Sort("with --by")),
    }
}

fn watch(seconds: f64) -> Result<Duration, UsageError> {
    if (WATCH_SECONDS_MIN..=WATCH_SECONDS_MAX).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(UsageError::Watch(seconds))
    }
}

/// A pattern of `*` (anything) and `?` (one byte); everything else stands for itself.
#[derive(Debug, Clone)]
pub struct Glob(Vec<u8>);

impl Glob {
    pub fn new(pattern: &str) -> Self {
        Glob(pattern.as_bytes().to_vec())
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        // On a mismatch, the last `*` takes one byte more: linear in pattern times text, never exponential.
        let (mut at, mut from) = (0, 0);
        let mut star = None;
        while from < text.len() {
            match self.0.get(at) {
                Some(b'*') => {
                    star = Some((at, from));
                    at += 1;
                }
                Some(wanted) if *wanted == b'?' || Some(wanted) == text.get(from) => {
                    at += 1;
                    from += 1;
                }
                _ => match star {
                    Some((place, taken)) => {
                        star = Some((place, taken + 1));
                        at = place + 1;
                        from = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        self.0.get(at..).unwrap_or_default().iter().all(|rest| *rest == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(change: impl FnOnce(&mut SocketsArgs)) -> Result<Plan, UsageError> {
        let mut args = SocketsArgs::default();
        change(&mut args);
        let format = if args.json { Format::Json } else { args.format.unwrap_or_default() };
        Plan::new(&args, format, None, false)
    }

    #[test]
    fn words_become_numbers_or_are_refused() {
        let plan_ports = plan(|args| args.port = vec!["smtp".into(), "587".into()]).unwrap();
        assert_eq!(plan_ports.query.ports, [25, 587]);
        assert!(matches!(plan(|args| args.port = vec!["no-such".into()]), Err(UsageError::Port(_))));
        let states = plan(|args| args.state = vec!["ESTABLISHED".into(), "time-wait".into()]).unwrap().query.states;
        assert_eq!(states, State::Established.bit() | State::TimeWait.bit());
        assert!(matches!(plan(|args| args.state = vec!["open".into()]), Err(UsageError::State(_))));
        assert!(matches!(plan(|args| args.peer = vec!["192.0.2.0/33".into()]), Err(UsageError::Peer(_))));
        let mapped = plan(|args| args.peer = vec!["::ffff:192.0.2.1".into()]).unwrap().query.peer;
        assert_eq!(mapped, Some("192.0.2.1".parse().unwrap()));
        assert!(matches!(plan(|args| args.watch = Some(0.0)), Err(UsageError::Watch(_))));
        assert!(matches!(plan(|args| args.watch = Some(f64::NAN)), Err(UsageError::Watch(_))));
        assert!(matches!(plan(|args| args.sort = Some(Sort::Count)), Err(UsageError::Sort(_))));
    }

    #[test]
    fn figures_are_fetched_only_where_they_are_shown() {
        assert!(!plan(|_| {}).unwrap().query.info);
        assert!(plan(|args| args.info = true).unwrap().query.info);
        assert!(plan(|args| args.json = true).unwrap().query.info);
        assert!(plan(|args| args.sort = Some(Sort::Rtt)).unwrap().query.info);
    }

    #[test]
    fn globs() {
        let matches = |pattern: &str, text: &str| Glob::new(pattern).matches(text.as_bytes());
        assert!(matches("postfix*", "postfix@-.service") && matches("*", "") && matches("a?c", "abc"));
        assert!(matches("*fix*vice", "postfix@-.service") && matches("abc", "abc"));
        assert!(!matches("postfix", "postfix.service") && !matches("a?c", "ac") && !matches("", "a"));
        assert!(matches("**a*b", "xxaxxb") && !matches("*a*b", "xxaxxbc"));
        assert!(!matches(&"*a".repeat(50), &"a".repeat(40)));
    }
}
