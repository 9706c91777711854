//! One file from a web server, over TLS that is checked: no redirection is followed, and every bound has its name.
//!
//! Strict on purpose: RFC 8461 section 3.3 has senders take a policy from exactly 200, with a certificate that holds for the
//! host's name. `response` reads what comes. What must not live here: which file is wanted, and what it means.

mod response;
#[cfg(test)]
mod tests;

use crate::clock::millis;
use crate::dial::{DialPlan, dial};
use crate::stream::{Came, Stream};
use crate::tls::{Roots, TlsPlan};
use mxray_auth::ask::Fetched;
use mxray_model::evidence::{CertificateProblem, Dial, DialOutcome, RootStore, TlsEnding, TlsFacts};
use mxray_model::special::is_special;
use mxray_model::text::untrusted;
use mxray_model::{Blind, Prefix, Seen};
use response::{Response, Trouble};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;
/// One address is waited for so long while others are left.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
const AGENT: &str = concat!("mxray/", env!("CARGO_PKG_VERSION"));

/// What fetching rests on.
#[derive(Debug, Clone, Default)]
pub struct Fetching {
    pub roots: Arc<Roots>,
    /// Addresses that count as public although the registries say otherwise.
    pub public: Vec<Prefix>,
    /// Where web servers listen; `None`: at 443.
    pub port: Option<u16>,
}

const HTTPS: u16 = 443;

/// A file to fetch. Its host's addresses are known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Get<'a> {
    pub host: &'a str,
    /// Begins with a slash.
    pub path: &'a str,
    pub addresses: &'a [IpAddr],
    pub body_max: usize,
    pub until: Instant,
}

/// A service to connect to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach<'a> {
    pub host: &'a str,
    pub port: u16,
    pub addresses: &'a [IpAddr],
    /// TLS is there from the first byte.
    pub implicit: bool,
    pub until: Instant,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub status: u16,
    pub content_type: Option<String>,
    pub location: Option<String>,
    pub bytes: Vec<u8>,
}

impl Fetching {
    /// May this address be gone to? Whoever names a domain must not have us talk to inner hosts.
    fn allows(&self, address: IpAddr) -> bool {
        !is_special(address) || self.public.iter().any(|prefix| prefix.contains(address))
    }

    /// Fetches a file.
    ///
    /// # Errors
    /// Why there is no answer; never [`Fetched::Body`] or [`Fetched::Status`].
    pub(crate) fn get(&self, get: Get<'_>) -> Result<Page, Fetched> {
        let (host, port) = (get.host, self.port.unwrap_or(HTTPS));
        let target = Reach { host, port, addresses: get.addresses, implicit: true, until: get.until };
        let mut stream = self.connect(target)?;
        let (facts, _) = stream.start_tls(&self.plan(host), get.until);
        believed(get.host, &facts)?;
        let page = ask(&mut stream, get);
        stream.close();
        page
    }

    /// As [`crate::Evaluations::reach`] says.
    pub(crate) fn reach(&self, target: Reach<'_>) -> Seen<Seen<String>> {
        let mut stream = match self.connect(target) {
            Ok(stream) => stream,
            Err(Fetched::NoServer(_)) => return Seen::Absent,
            Err(Fetched::NotAllowed(why)) => return Seen::Unknown(Blind::NotAttempted { why }),
            Err(Fetched::Unknown(blind)) => return Seen::Unknown(blind),
            Err(_) => return Seen::not_attempted("it was not reached"),
        };
        if !target.implicit {
            stream.close();
            return Seen::Value(Seen::not_attempted("TLS begins behind a command there"));
        }
        let (facts, _) = stream.start_tls(&self.plan(target.host), target.until);
        stream.close();
        Seen::Value(match believed(target.host, &facts) {
            Ok(()) => Seen::Absent,
            Err(Fetched::NotTrusted(why)) => Seen::Value(why),
            Err(Fetched::Unknown(blind)) => Seen::Unknown(blind),
            Err(_) => Seen::not_attempted("the handshake came to nothing"),
        })
    }

    /// As [`crate::Evaluations::chain_trouble`] says.
    pub(crate) fn chain_trouble(&self, ders: &[Vec<u8>], name: &str) -> Seen<String> {
        let examined = self.roots.examine(ders, Some(name));
        match refused(&examined.problems, &examined.trusted) {
            None => Seen::Absent,
            Some(Refused::By(why)) => Seen::Value(why),
            Some(Refused::Unseen(blind)) => Seen::Unknown(blind),
        }
    }

    fn plan(&self, host: &str) -> TlsPlan {
        let name = Some(host.to_owned());
        let roots = Arc::clone(&self.roots);
        TlsPlan { server_name: name.clone(), reference_name: name, roots, ..TlsPlan::default() }
    }

    /// The first address that takes the connection. Those that say no are passed over, as by everybody who fetches.
    fn connect(&self, target: Reach<'_>) -> Result<Stream, Fetched> {
        let Reach { host, port, addresses, until: latest, .. } = target;
        let (allowed, inner): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| self.allows(**address));
        if let ([], Some(address)) = (allowed.as_slice(), inner.first()) {
            let why = format!("{host} is at {address}, which is no public address; nothing is asked there");
            return Err(Fetched::NotAllowed(why));
        }
        let mut seen: Vec<Dial> = Vec::new();
        let tried = allowed.len().min(ADDRESSES_MAX);
        for (place, address) in allowed.iter().take(tried).enumerate() {
            let is_last = place + 1 == tried;
            let until = if is_last { latest } else { latest.min(Instant::now() + CONNECT_PATIENCE) };
            let (dial, stream) = dial(DialPlan { peer: SocketAddr::new(*address, port), source: None }, until);
            if let Some(stream) = stream {
                return Ok(stream);
            }
            seen.push(dial);
        }
        Err(unreached(host, port, &seen))
    }
}

/// Nobody took the connection. That all of them refused is an answer; a silence may have its reason on our side.
fn unreached(host: &str, port: u16, seen: &[Dial]) -> Fetched {
    let refused = |dial: &Dial| matches!(dial.outcome, DialOutcome::Refused | DialOutcome::Reset);
    let Some(other) = seen.iter().find(|dial| !refused(dial)) else {
        return Fetched::NoServer(match seen {
            [] => format!("{host} has no address"),
            _ => format!("{host} refuses connections to port {port}"),
        });
    };
    let what = format!("port {port} of {host} ({})", other.peer.ip());
    Fetched::Unknown(match &other.outcome {
        DialOutcome::TimedOut { after_ms } => Blind::TimedOut { what, after_ms: *after_ms },
        outcome => Blind::NotAttempted { why: format!("{what}: {}", outcome.as_str()) },
    })
}

/// The handshake came to its end, and the certificate holds for the name.
fn believed(host: &str, facts: &TlsFacts) -> Result<(), Fetched> {
    match &facts.ending {
        TlsEnding::Established => {}
        TlsEnding::TimedOut { after_ms } => {
            let what = format!("the TLS handshake with {host}");
            return Err(Fetched::Unknown(Blind::TimedOut { what, after_ms: *after_ms }));
        }
        TlsEnding::Broke { error } => {
            let step = format!("the TLS handshake with {host}");
            return Err(Fetched::Unknown(Blind::Failed { step, error: error.clone() }));
        }
        ending => return Err(Fetched::NotTrusted(format!("no TLS with {host}: {}", ending.words()))),
    }
    refused(&facts.problems, &facts.trusted).map_or(Ok(()), |why| {
        Err(match why {
            Refused::By(why) => Fetched::NotTrusted(format!("the certificate of {host} does not hold: {why}")),
            Refused::Unseen(blind) => Fetched::Unknown(blind),
        })
    })
}

/// Why a chain is not believed.
enum Refused {
    By(String),
    /// Nobody could tell.
    Unseen(Blind),
}

/// What somebody who checks makes of a chain. `None`: nothing is wrong with it.
fn refused(problems: &[CertificateProblem], trusted: &BTreeMap<RootStore, Seen<bool>>) -> Option<Refused> {
    let bad: Vec<String> =
        problems.iter().filter(|problem| problem.is_refused()).map(CertificateProblem::words).collect();
    if !bad.is_empty() {
        return Some(Refused::By(bad.join("; ")));
    }
    if trusted.values().any(|trusted| *trusted == Seen::Value(true)) {
        return None;
    }
    Some(match trusted.values().find_map(Seen::blind) {
        Some(blind) => Refused::Unseen(blind.clone()),
        None => Refused::By("its chain leads to no root that is known".to_owned()),
    })
}

fn ask(stream: &mut Stream, get: Get<'_>) -> Result<Page, Fetched> {
    let began = Instant::now();
    let Get { host, path, until, .. } = get;
    let failed = |error: String| Fetched::Unknown(Blind::Failed { step: format!("fetching from {host}"), error });
    let late = || {
        let what = format!("the answer of {host}");
        Fetched::Unknown(Blind::TimedOut { what, after_ms: millis(began.elapsed()) })
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {AGENT}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n\
         Connection: close\r\n\r\n"
    );
    // A server may answer before it has read all, and hang up: what it said is worth reading.
    let written = stream.write_all(request.as_bytes(), until);
    let mut response = Response::new(get.body_max);
    let mut buffer = [0; 4096];
    loop {
        if Instant::now() >= until {
            return Err(late());
        }
        let ended = match stream.read(&mut buffer, until) {
            Came::Bytes(count) => response.take(buffer.get(..count).unwrap_or_default()),
            Came::Closed => response.end().map(|()| true),
            Came::TimedOut => return Err(late()),
            Came::Broke(error) => return Err(failed(written.err().map_or(error, |error| error.to_string()))),
        };
        // Any status but 200 is an answer by its head alone.
        if let Some(head) = response.head.take_if(|head| head.status != 200) {
            return Ok(told(head, Vec::new()));
        }
        match ended {
            Ok(true) => return page(host, response),
            Ok(false) => {}
            Err(trouble) => return Err(fetched(host, trouble)),
        }
    }
}

fn fetched(host: &str, trouble: Trouble) -> Fetched {
    match trouble {
        Trouble::TooLarge => Fetched::TooLarge,
        Trouble::Malformed(why) => Fetched::Malformed(format!("{host}: {why}")),
    }
}

fn page(host: &str, response: Response) -> Result<Page, Fetched> {
    let Some(head) = response.head else {
        return Err(Fetched::Malformed(format!("{host} answers without a head")));
    };
    if let Some(coding) = &head.encoded {
        let coding = untrusted(coding.as_bytes());
        return Err(Fetched::Malformed(format!("{host} sends it as {coding}, which nobody asked for")));
    }
    Ok(told(head, response.body))
}

fn told(head: response::Head, bytes: Vec<u8>) -> Page {
    let clean = |text: Option<String>| text.map(|text| untrusted(text.as_bytes()));
    Page { status: head.status, content_type: clean(head.content_type), location: clean(head.location), bytes }
}

/// For the fuzzer: reads bytes as a web server's answer, in pieces; whether it is a whole one.
#[doc(hidden)]
pub fn reads_as_page(bytes: &[u8], piece: usize) -> bool {
    let mut response = Response::new(mxray_auth::transport::POLICY_BYTES_MAX);
    for part in bytes.chunks(piece.max(1)) {
        match response.take(part) {
            Ok(true) => return true,
            Ok(false) => {}
            Err(_) => return false,
        }
    }
    response.end().is_ok()
}
