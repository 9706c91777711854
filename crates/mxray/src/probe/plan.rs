//! From what was typed to who is connected to, and how far.

use super::ProbeArgs;
use crate::config::Config;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::outside::target::{Service, Target, parse};
use crate::outside::{credentials, ehlo_name};
use mxray_host::names::{account, primary_group};
use mxray_host::{mta, resolver};
use mxray_model::Seen;
use mxray_model::evidence::{Purpose, SessionProtocol, standard_service};
use mxray_model::session::Depth;
use mxray_model::text::untrusted;
use mxray_net::{Beyond, Dialler, Resolver, Tools, User, as_user};
use mxray_wire::sasl::{Login, Mechanism};
use mxray_wire::smtp::Envelope;
use mxray_wire::{Auth, Secret};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A list of a hundred thousand names has some megabytes.
const TARGETS_BYTES_MAX: u64 = 64 << 20;
/// What a host that is named alone is asked for, side by side.
const PORTS: [u16; 9] = [25, 465, 587, 2525, 143, 993, 110, 995, 4190];
const DEADLINE: Duration = Duration::from_secs(20);
const DEADLINE_DEEP: Duration = Duration::from_secs(340);
const DEADLINE_RETRY: Duration = Duration::from_secs(400);

/// One target, as it was typed and as it is understood.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub text: String,
    pub target: Target,
}

/// Everything that is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    pub targets: Vec<Wanted>,
    pub concurrency: usize,
    /// For each target, from the moment when its turn comes.
    pub deadline: Duration,
    pub how: How,
}

/// What holds for all of them.
#[derive(Debug, Clone)]
pub struct How {
    pub depth: Depth,
    pub ehlo: String,
    pub source: Option<IpAddr>,
    pub ipv4: bool,
    pub ipv6: bool,
    pub auth: Option<Auth>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub beyond: Beyond,
    pub tools: Tools,
}

/// Makes a plan.
///
/// # Errors
/// `Usage`, with everything that cannot be meant so; nothing was connected to.
pub fn plan(args: &ProbeArgs, config: &Config, environment: &Environment) -> Result<Plan, Failure> {
    let targets = targets(args).map_err(Failure::Usage)?;
    let depth = depth(args).map_err(Failure::Usage)?;
    for address in [&args.from, &args.to].into_iter().flatten() {
        Envelope::new(address, &[address]).map_err(|error| Failure::Usage(error.to_string()))?;
    }
    let ehlo = args.ehlo.clone().unwrap_or_else(ehlo_name);
    mxray_wire::smtp::Plan::new(&ehlo).map_err(|error| Failure::Usage(format!("--ehlo: {error}")))?;
    let usual = match (&args.retry, args.deep) {
        (Some(_), _) => DEADLINE_RETRY,
        (None, true) => DEADLINE_DEEP,
        (None, false) => DEADLINE,
    };
    let deadline = match args.deadline {
        Some(deadline) => deadline,
        None => environment.deadline().map_err(Failure::Usage)?.unwrap_or(usual),
    };
    let concurrency = usize::from(args.concurrency).min(targets.len().max(1));
    let auth = auth(args, config)?;
    let turns = u32::try_from(targets.len().div_ceil(concurrency)).unwrap_or(u32::MAX);
    let tools = tools(args, config, deadline.saturating_mul(turns.saturating_add(1)))?;
    let retry = args.retry.as_ref().map(|pauses| pauses.0.clone()).unwrap_or_default();
    let beyond = Beyond { deep: args.deep, ask_required: args.deep, retry, ..Beyond::default() };
    let (from, to) = (args.from.clone(), args.to.clone());
    let (ipv4, ipv6) = (args.ipv4, args.ipv6);
    let how = How { depth, ehlo, source: args.source, ipv4, ipv6, auth, from, to, beyond, tools };
    Ok(Plan { targets, concurrency, deadline, how })
}

fn depth(args: &ProbeArgs) -> Result<Depth, String> {
    let envelope = args.from.is_some() || args.to.is_some() || args.retry.is_some();
    let asked: Option<Depth> = args.depth.map(Depth::from);
    let depth = asked.unwrap_or(match (envelope, args.user.is_some()) {
        (true, _) => Depth::Rcpt,
        (false, true) => Depth::Auth,
        (false, false) => Depth::Tls,
    });
    if asked == Some(Depth::Auth) && args.user.is_none() {
        return Err("--depth auth: --user says who logs in".to_owned());
    }
    if args.user.is_some() && depth < Depth::Auth {
        return Err("--user: a login needs --depth auth or rcpt".to_owned());
    }
    if envelope && depth < Depth::Rcpt {
        return Err("--from, --to and --retry need --depth rcpt".to_owned());
    }
    Ok(depth)
}

fn targets(args: &ProbeArgs) -> Result<Vec<Wanted>, String> {
    let wanted = |text: &str| parse(text).map(|target| Wanted { text: text.to_owned(), target });
    let mut targets = args.targets.iter().map(|text| wanted(text)).collect::<Result<Vec<_>, _>>()?;
    if let Some(file) = &args.targets_file {
        let name = untrusted(file.as_os_str().as_encoded_bytes());
        let text = read(file).map_err(|error| format!("--targets: read {name}: {error}"))?;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                targets.push(wanted(line).map_err(|error| format!("{name}:{number}: {error}"))?);
            }
        }
    }
    // Twice the same is one session: nobody is asked the same again for nothing.
    let mut known = BTreeSet::new();
    targets.retain(|wanted| known.insert(wanted.text.clone()));
    if targets.is_empty() { Err("no target".to_owned()) } else { Ok(targets) }
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let stream: Box<dyn Read> =
        if file == Path::new("-") { Box::new(io::stdin().lock()) } else { Box::new(File::open(file)?) };
    stream.take(TARGETS_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > TARGETS_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {} MiB", TARGETS_BYTES_MAX >> 20)));
    }
    Ok(text)
}

fn auth(args: &ProbeArgs, config: &Config) -> Result<Option<Auth>, Failure> {
    let Some(user) = &args.user else { return Ok(None) };
    let submission = &config.settings.submission;
    // The configuration may know this very user's password.
    let known = submission.password.as_ref().filter(|_| submission.user.as_ref() == Some(user));
    let given = credentials::place(args.password.as_deref()).map_err(Failure::Usage)?;
    let secret = credentials::read(given.as_ref().or(known), user).map_err(Failure::Usage)?;
    let mut auth = Auth::with_password(Login::new(user, Secret::new(secret)), "");
    if !args.mechanism.is_empty() {
        let named = |name: &String| {
            Mechanism::named(name)
                .ok_or_else(|| Failure::Usage(format!("--mechanism {name}: not one that mxray speaks")))
        };
        auth.mechanisms = args.mechanism.iter().map(named).collect::<Result<_, _>>()?;
    }
    Ok(Some(auth))
}

fn tools(args: &ProbeArgs, config: &Config, life: Duration) -> Result<Tools, Failure> {
    let mut resolver = if config.settings.dns.servers.is_empty() {
        let files = resolver::look(BTreeSet::new(), &Seen::Absent);
        Resolver::system(&files.system.resolv_conf).unwrap_or_default()
    } else {
        Resolver::new(config.settings.dns.servers.clone())
    };
    resolver.hosts = Arc::new(mta::hosts_file());
    let dialler = match &args.as_user {
        None => Dialler::Own,
        Some(name) => dialler(name, life)?,
    };
    Ok(Tools { resolver, dialler, ..Tools::default() })
}

fn dialler(name: &str, life: Duration) -> Result<Dialler, Failure> {
    let refuse = |why: String| Failure::Usage(format!("--as {}: {why}", untrusted(name.as_bytes())));
    let account = match account(name) {
        Seen::Value(account) => account,
        Seen::Absent => return Err(refuse("no such user in /etc/passwd".to_owned())),
        Seen::Unknown(blind) => return Err(refuse(blind.why())),
    };
    let gid = match primary_group(account.uid) {
        Seen::Value(gid) => gid,
        Seen::Absent => return Err(refuse("no group in /etc/passwd".to_owned())),
        Seen::Unknown(blind) => return Err(refuse(blind.why())),
    };
    let user = User { name: account.name, uid: account.uid, gid };
    let now = Instant::now();
    match as_user(&user, now.checked_add(life).unwrap_or(now + Duration::from_secs(24 * 3600))) {
        Seen::Value(dialler) => Ok(dialler),
        Seen::Absent => Err(refuse("no helper process".to_owned())),
        Seen::Unknown(blind) => {
            Err(Failure::Unanswered(format!("--as {name}: {}; needs {}", blind.why(), blind.needs())))
        }
    }
}

/// The services that a host is asked for where no port was named.
pub fn survey(host: &str) -> Vec<Service> {
    let service = |port: &u16| {
        let (protocol, tls, purpose) = standard_service(*port)?;
        Some(Service { host: host.to_owned(), port: *port, protocol, tls, purpose })
    };
    PORTS.iter().filter_map(service).collect()
}

/// Where servers bring mail to.
pub fn exchanger(host: &str) -> Service {
    let tls = mxray_model::evidence::TlsMode::Starttls;
    Service { host: host.to_owned(), port: 25, protocol: SessionProtocol::Smtp, tls, purpose: Purpose::Relay }
}

impl How {
    /// Whose mail is asked about, first the null sender's to postmaster (RFC 5321 sections 4.5.1 and 4.5.5), then what was
    /// named. `domain`: of the mail that the service takes, where it is known.
    pub fn envelopes(&self, domain: Option<&str>, recipient: Option<&str>) -> (Option<Envelope>, Vec<Envelope>) {
        if self.depth < Depth::Rcpt {
            return (None, Vec::new());
        }
        let domain = domain.or_else(|| self.to.as_deref()?.rsplit_once('@').map(|(_, domain)| domain));
        // RFC 5321 section 4.1.1.3: postmaster needs no domain.
        let postmaster = domain.map_or_else(|| "postmaster".to_owned(), |domain| format!("postmaster@{domain}"));
        let first = Envelope::new("", &[postmaster.as_str()]).ok();
        let named = self.to.as_deref().or(recipient);
        let further = match (&self.from, named) {
            (None, None) => None,
            (from, to) => Envelope::new(from.as_deref().unwrap_or(""), &[to.unwrap_or(&postmaster)]).ok(),
        };
        (first, further.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(from: Option<&str>, to: Option<&str>) -> How {
        How {
            depth: Depth::Rcpt,
            ehlo: "probe.example".to_owned(),
            source: None,
            ipv4: false,
            ipv6: false,
            auth: None,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            beyond: Beyond::default(),
            tools: Tools::default(),
        }
    }

    #[test]
    fn the_null_sender_asks_for_postmaster_and_others_only_where_they_are_named() {
        let plain = |(first, further): (Option<Envelope>, Vec<Envelope>)| -> Vec<(String, String)> {
            let all = first.into_iter().chain(further);
            all.map(|envelope| (envelope.sender().to_owned(), envelope.recipients().join(","))).collect()
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(plain(how(None, None).envelopes(None, None)), [pair("", "postmaster")]);
        assert_eq!(plain(how(None, None).envelopes(Some("b.example"), None)), [pair("", "postmaster@b.example")]);
        assert_eq!(
            plain(how(None, None).envelopes(Some("b.example"), Some("a@b.example"))),
            [pair("", "postmaster@b.example"), pair("", "a@b.example")]
        );
        assert_eq!(
            plain(how(Some("x@y.example"), Some("a@b.example")).envelopes(None, None)),
            [pair("", "postmaster@b.example"), pair("x@y.example", "a@b.example")]
        );
        assert_eq!(
            plain(how(Some("x@y.example"), None).envelopes(Some("b.example"), None)),
            [pair("", "postmaster@b.example"), pair("x@y.example", "postmaster@b.example")]
        );
        let shallow = How { depth: Depth::Tls, ..how(None, None) };
        assert_eq!(plain(shallow.envelopes(Some("b.example"), None)), []);
    }

    #[test]
    fn a_survey_has_every_usual_port() {
        let ports: Vec<u16> = survey("mail.example").iter().map(|service| service.port).collect();
        assert_eq!(ports, PORTS);
    }
}
