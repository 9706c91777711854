//! What was typed, understood: everything that is the same for all servers and recipients. Nothing is connected to here.

use super::address::Mailbox;
use super::args::{DsnReturn, SendArgs, TlsArgs, TlsWish};
use super::letter::{Frame, Letter};
use super::route::Goal;
use super::stop::{self, Halt};
use crate::config::parse::Secret as Place;
use crate::outside::{credentials, ehlo_name, target};
use mxray_mail::Stamp;
use mxray_model::session::TlsVersion;
use mxray_net::{ClientIdentity, Roots};
use mxray_wire::sasl::{Login, Mechanism};
use mxray_wire::smtp::{Dialect, Envelope, Handover, xtext};
use mxray_wire::{Auth, Secret};
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Certificates and keys have some kilobytes; a bundle of all authorities has 300.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// What a certificate has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verify {
    pub required: bool,
    /// Instead of the server's name.
    pub name: Option<String>,
}

/// All of it.
#[derive(Debug)]
pub struct Plan {
    pub sender: Mailbox,
    pub to: Vec<Mailbox>,
    pub cc: Vec<Mailbox>,
    /// Everybody, each once.
    pub recipients: Vec<String>,
    /// Empty: the exchangers of the recipients' domains.
    pub goals: Vec<Goal>,
    pub by_mx: bool,
    pub port: u16,
    pub dialect: Dialect,
    /// Only IPv4 (`true`) or IPv6.
    pub family: Option<bool>,
    pub source: Option<IpAddr>,
    pub timeout: Duration,
    pub tls: Option<TlsWish>,
    pub verify: Verify,
    pub roots: Arc<Roots>,
    pub identity: Option<Arc<ClientIdentity>>,
    pub lowest: Option<TlsVersion>,
    pub highest: Option<TlsVersion>,
    pub sni: Option<String>,
    pub auth: Option<Auth>,
    pub auth_required: bool,
    pub helo: String,
    pub pipelining: bool,
    pub chunking: Option<Option<NonZeroUsize>>,
    pub halt: Option<Halt>,
    password: Option<Place>,
    args: SendArgs,
}

impl Plan {
    /// # Errors
    /// A sentence: what cannot be done.
    pub fn new(args: &SendArgs) -> Result<Self, String> {
        let mailboxes = |texts: &[String]| -> Result<Vec<Mailbox>, String> {
            texts.iter().map(|text| Mailbox::parse(text)).collect()
        };
        let (to, cc, bcc) =
            (mailboxes(&args.envelope.to)?, mailboxes(&args.envelope.cc)?, mailboxes(&args.envelope.bcc)?);
        let mut recipients: Vec<String> = Vec::new();
        for mailbox in to.iter().chain(&cc).chain(&bcc) {
            if mailbox.address.is_empty() {
                return Err("an empty address cannot be a recipient".to_owned());
            }
            if !recipients.contains(&mailbox.address) {
                recipients.push(mailbox.address.clone());
            }
        }
        let helo = args.session.helo.clone().unwrap_or_else(ehlo_name);
        let dialect = if args.server.lmtp { Dialect::Lmtp } else { Dialect::Smtp };
        let port = args.server.port.unwrap_or(match (dialect, args.tls.tls) {
            (Dialect::Lmtp, _) => 24,
            (_, Some(TlsWish::Implicit)) => 465,
            _ => 25,
        });
        let goals = goals(args, port)?;
        let family = [(args.server.ipv4, true), (args.server.ipv6, false)];
        let plan = Plan {
            sender: sender(args.envelope.from.as_deref())?,
            to,
            cc,
            recipients,
            by_mx: goals.is_empty(),
            goals,
            port,
            dialect,
            family: family.into_iter().find(|(wanted, _)| *wanted).map(|(_, ipv4)| ipv4),
            source: args.server.source,
            timeout: args.server.timeout,
            tls: args.tls.tls,
            verify: verify(&args.tls)?,
            roots: roots(&args.tls)?,
            identity: identity(&args.tls)?,
            lowest: args.tls.tls_min,
            highest: args.tls.tls_max,
            sni: args.tls.sni.clone(),
            auth: None,
            auth_required: args.login.user.is_some() && !args.login.auth_optional,
            helo,
            pipelining: args.session.pipelining,
            chunking: args.session.chunking,
            halt: stop::halt(&args.session)?,
            password: credentials::place(args.login.password.as_deref())?,
            args: args.clone(),
        };
        if plan.lowest.zip(plan.highest).is_some_and(|(lowest, highest)| lowest.number() > highest.number()) {
            return Err("--tls-min is newer than --tls-max".to_owned());
        }
        Ok(plan)
    }

    /// Reads the password, where one is needed: last of all, since it may be asked for.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn log_in(&mut self) -> Result<(), String> {
        let wish = &self.args.login;
        let Some(user) = &wish.user else { return Ok(()) };
        let external = !wish.mechanism.is_empty() && wish.mechanism.iter().all(|one| *one == Mechanism::External);
        let secret = if external && self.password.is_none() {
            Vec::new()
        } else {
            credentials::read(self.password.as_ref(), user)?
        };
        let mut login = Login::new(user, Secret::new(secret));
        login.authorize_as = wish.authorize_as.clone().unwrap_or_default();
        let mut auth = Auth::with_password(login, "");
        if !wish.mechanism.is_empty() {
            auth.mechanisms.clone_from(&wish.mechanism);
        }
        auth.in_clear = wish.auth_in_clear;
        auth.initial_response = !wish.no_initial_response;
        self.auth = Some(auth);
        Ok(())
    }

    pub fn frame(&self, stamp: Stamp) -> Frame<'_> {
        Frame { stamp, sender: &self.sender, to: &self.to, cc: &self.cc, host: &self.helo }
    }

    /// The envelope for some of the recipients.
    ///
    /// # Errors
    /// Something that cannot be part of a command.
    pub fn envelope(&self, letter: &Letter, recipients: &[String]) -> Result<Envelope, String> {
        let wish = &self.args.envelope;
        let given = |name: &str| {
            let mut names = wish.mail_parameter.iter().filter_map(|word| word.split('=').next());
            names.any(|known| known.eq_ignore_ascii_case(name))
        };
        let mail: Vec<&str> = wish.mail_parameter.iter().map(String::as_str).collect();
        let rcpt: Vec<&str> = wish.rcpt_parameter.iter().map(String::as_str).collect();
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let build = || {
            let mut envelope = Envelope::new(&self.sender.address, &recipients)?.with_parameters(&mail, &rcpt)?;
            if !given("SIZE") {
                let size = format!("SIZE={}", letter.message.bytes().len());
                envelope = envelope.with_announced("SIZE", &size)?;
            }
            if letter.eight_bit && !given("BODY") {
                envelope = envelope.with_announced("8BITMIME", "BODY=8BITMIME")?;
            }
            if self.is_utf8(letter, &recipients) && !given("SMTPUTF8") {
                envelope = envelope.with_announced("SMTPUTF8", "SMTPUTF8")?;
            }
            if let Some(part) = wish.dsn_return {
                let part = if part == DsnReturn::Full { "RET=FULL" } else { "RET=HDRS" };
                envelope = envelope.with_announced("DSN", part)?;
            }
            if let Some(id) = &wish.dsn_id {
                envelope = envelope.with_announced("DSN", &format!("ENVID={}", xtext(id)))?;
            }
            if let Some(when) = &wish.dsn_notify {
                envelope = envelope.with_announced_for_each("DSN", |_| format!("NOTIFY={when}"))?;
            }
            if wish.dsn_recipient {
                envelope = envelope.with_announced_for_each("DSN", original)?;
            }
            Ok(envelope)
        };
        build().map_err(|error: mxray_wire::smtp::BadAddress| error.to_string())
    }

    fn is_utf8(&self, letter: &Letter, recipients: &[&str]) -> bool {
        letter.utf8 || !self.sender.address.is_ascii() || recipients.iter().any(|address| !address.is_ascii())
    }

    /// # Errors
    /// Something that cannot be part of a command.
    pub fn handover(&self, letter: &Letter, recipients: &[String]) -> Result<Handover, String> {
        let (message, session) = (&self.args.message, &self.args.session);
        let mut handover = Handover::default();
        let ends: Option<(SocketAddr, SocketAddr)> = session.proxy_source.zip(session.proxy_destination);
        if ends.is_some_and(|(source, destination)| source.is_ipv4() != destination.is_ipv4()) {
            return Err("--proxy-source and --proxy-destination have to be of one family".to_owned());
        }
        handover = match session.proxy {
            Some(1) => handover.with_proxy_v1(ends),
            Some(_) => handover.with_proxy_v2(ends),
            None => handover,
        };
        let attributes: Vec<&str> = session.xclient.iter().map(String::as_str).collect();
        handover = handover.with_xclient(&attributes).map_err(|error| format!("--xclient: {error}"))?;
        handover.helo_only = session.helo_only;
        handover.auth_required = self.auth_required;
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let addresses = !self.sender.address.is_ascii() || recipients.iter().any(|address| !address.is_ascii());
        // An address beyond ASCII cannot be said otherwise; of a message, somebody may know better.
        if addresses || (self.is_utf8(letter, &recipients) && !message.eight_bit_anyway) {
            handover.needs.push("SMTPUTF8".to_owned());
        }
        if letter.eight_bit && !message.eight_bit_anyway {
            handover.needs.push("8BITMIME".to_owned());
        }
        handover.stop = match self.halt {
            Some(Halt::At(stop)) => Some(stop),
            Some(Halt::Connected) | None => None,
        };
        Ok(handover)
    }
}

/// RFC 3461 section 4.2; RFC 6533 section 3 for more than ASCII.
fn original(address: &str) -> String {
    if address.is_ascii() {
        return format!("ORCPT=rfc822;{}", xtext(address));
    }
    let coded: String = address
        .chars()
        .map(|c| match c {
            c if c.is_ascii_graphic() && !matches!(c, '+' | '=' | '\\') => c.to_string(),
            c => format!("\\x{{{:02X}}}", u32::from(c)),
        })
        .collect();
    format!("ORCPT=utf-8;{coded}")
}

/// The sender as typed, else whoever runs this.
fn sender(typed: Option<&str>) -> Result<Mailbox, String> {
    if let Some(text) = typed {
        return Mailbox::parse(text);
    }
    let host = ehlo_name();
    if host.ends_with(".invalid") {
        return Err("this host has no full name, so that there is no usual sender: give --from".to_owned());
    }
    let user = ["LOGNAME", "USER"].into_iter().find_map(|name| std::env::var(name).ok());
    let plain =
        |user: &String| !user.is_empty() && user.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let user = user
        .filter(plain)
        .unwrap_or_else(|| if rustix::process::getuid().is_root() { "root" } else { "postmaster" }.to_owned());
    Mailbox::parse(&format!("{user}@{host}"))
}

fn goals(args: &SendArgs, port: u16) -> Result<Vec<Goal>, String> {
    if let Some(path) = &args.server.unix {
        return Ok(vec![Goal::Unix(path.clone())]);
    }
    let host = |text: &String| {
        let (name, own) = target::host_and_port(text).map_err(|error| format!("--server {error}"))?;
        Ok(Goal::Host { name, port: own.unwrap_or(port), preference: None })
    };
    args.server.server.iter().map(host).collect()
}

fn verify(args: &TlsArgs) -> Result<Verify, String> {
    let required = args.tls_verify || args.tls_verify_name.is_some();
    if required && args.tls == Some(TlsWish::None) {
        return Err("--tls none: there is no certificate to verify".to_owned());
    }
    let mut verify = Verify::not();
    verify.required = required;
    verify.name.clone_from(&args.tls_verify_name);
    Ok(verify)
}

fn roots(args: &TlsArgs) -> Result<Arc<Roots>, String> {
    let Some(path) = &args.ca else { return Ok(Arc::new(Roots::default())) };
    Roots::from_pem(&pem(path)?).map(Arc::new).map_err(|error| format!("{}: {error}", path.display()))
}

fn identity(args: &TlsArgs) -> Result<Option<Arc<ClientIdentity>>, String> {
    let Some(path) = &args.client_cert else { return Ok(None) };
    let chain = pem(path)?;
    let key_path = args.client_key.as_ref().unwrap_or(path);
    let key = pem(key_path)?;
    let identity = ClientIdentity::from_pem(&chain, &key);
    identity.map(|identity| Some(Arc::new(identity))).map_err(|error| format!("{}: {error}", path.display()))
}

fn pem(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|error| format!("{shown}: {error}"))?;
    let mut bytes = Vec::new();
    let read = file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("{shown}: {error}"))?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        return Err(format!("{shown}: larger than {} MiB", PEM_BYTES_MAX >> 20));
    }
    Ok(bytes)
}
