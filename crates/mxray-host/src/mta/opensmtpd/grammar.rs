//! What the statements of smtpd.conf(5) say, as far as listeners, domains, delivery and certificates depend on them. Pure.
//!
//! The grammar is that of 6.4 and later. What is not understood is told with its line; a listener with a word in it that
//! is not known is left out, because the word may change where it listens. Secrets (`srs key`, `queue encryption`) stand
//! in statements that are passed over, and nothing of these is ever quoted.

use super::lexer::{Lexer, Macros, Statement, Token};
use mxray_model::Seen;
use mxray_model::evidence::{FileLine, TlsMode};
use std::collections::BTreeMap;

/// Includes within includes; people have one or two levels, and a file that includes itself has no end.
const INCLUDE_DEPTH_MAX: u32 = 16;
/// Files of one configuration: two files that include each other twice would double with every level.
const FILES_MAX: u32 = 256;

/// A line that could not be understood.
pub(crate) type Trouble = (FileLine, String);

/// Everything that was understood.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub listeners: Vec<Listen>,
    pub pkis: BTreeMap<String, Pki>,
    pub tables: BTreeMap<String, Table>,
    pub actions: BTreeMap<String, Action>,
    pub rules: Vec<Match>,
    /// A rule that rejects all that strangers send, in front of all that would take something: the first that matches decides.
    pub closed: Option<FileLine>,
    /// `smtp max-message-size`, in bytes.
    pub size: Option<(u64, FileLine)>,
    pub troubles: Vec<Trouble>,
}

/// `listen on …`, without the local socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    /// An interface, an address or a name.
    pub on: String,
    pub family: Option<Family>,
    /// As it is written; `None`: 25, or 465 with `smtps`.
    pub port: Option<String>,
    pub tls: TlsMode,
    pub auth: Auth,
    pub pkis: Vec<String>,
    pub tag: Option<String>,
    pub at: FileLine,
}

/// `inet4`, `inet6`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Four,
    Six,
}

/// Who may talk to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    None,
    Optional,
    Required,
}

/// `pki NAME cert … key …`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pki {
    pub cert: Option<(String, FileLine)>,
    pub key: Option<(String, FileLine)>,
}

/// `table NAME …`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Table {
    /// The values, or the keys where it has both.
    Inline(Vec<String>),
    File(String),
    /// A backend that only smtpd can ask, as it is written.
    Other(String),
}

/// A table where one is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TableUse {
    Inline(Vec<String>),
    Named(String),
}

/// What an action does with mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Method {
    Mbox,
    Maildir(Option<String>),
    Lmtp(String),
    /// `mda`, `expand-only`, `forward-only`
    Other,
    Relay(Relay),
}

/// Which certificate a relay has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certificate {
    Any,
    Valid,
}

/// `relay …`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Relay {
    pub host: Option<TableUse>,
    pub source: Option<TableUse>,
    pub pki: Option<String>,
    /// `auth <table>`: logins by the label in the URL.
    pub auth: Option<TableUse>,
    /// `tls`: only under TLS. With `no-verify`, whatever the certificate.
    pub tls: Option<Certificate>,
    /// `helo NAME`
    pub helo: Option<String>,
    /// `helo-src <table>`: the name depends on the address.
    pub helo_by_source: bool,
}

/// `action NAME …`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    pub method: Method,
    /// Has `virtual <table>` or `userbase <table>`: its recipients are no users of the system.
    pub is_virtual: bool,
    pub at: FileLine,
}

/// Which recipients a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum For {
    Any,
    Local,
    Domains(TableUse),
    /// Regular expressions, negations and single addresses: something that is no list of domains.
    Other,
}

/// `match … action NAME`; rules that reject are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Match {
    pub target: For,
    /// Strangers on other machines are meant, too.
    pub from_others: bool,
    pub action: String,
    pub at: FileLine,
}

/// Reads a configuration and what it includes. `read` gives the bytes of a file.
pub(crate) fn parse(file: &str, bytes: &[u8], read: &dyn Fn(&str) -> Seen<Vec<u8>>) -> Config {
    let mut reader = Reader { config: Config::default(), macros: Macros::default(), files: 0, read };
    reader.file(file, bytes, 0);
    reader.config
}

struct Reader<'a> {
    config: Config,
    macros: Macros,
    files: u32,
    read: &'a dyn Fn(&str) -> Seen<Vec<u8>>,
}

/// Why a statement could not be read.
type Wrong = String;

impl Reader<'_> {
    fn file(&mut self, file: &str, bytes: &[u8], depth: u32) {
        let mut lexer = Lexer::new(bytes);
        while let Some(statement) = lexer.statement(&mut self.macros) {
            let at = FileLine { file: file.to_owned(), line: statement.line };
            let read = match &statement.trouble {
                Some(trouble) => Err(trouble.clone()),
                None => self.statement(&statement, &at, depth),
            };
            if let Err(wrong) = read {
                self.config.troubles.push((at, wrong));
            }
        }
    }

    fn statement(&mut self, statement: &Statement, at: &FileLine, depth: u32) -> Result<(), Wrong> {
        let mut words = Words { tokens: &statement.tokens };
        let name = words.word().ok_or("does not begin with a word")?;
        if words.sign('=') {
            let value = words.word().ok_or("a macro without a value")?;
            self.macros.set(name, value);
            return words.end();
        }
        match name.as_str() {
            "include" => self.include(&mut words, at, depth),
            "listen" => self.listen(&mut words, at),
            "pki" => self.pki(&mut words, at),
            "table" => self.table(&mut words),
            "action" => self.action(&mut words, at),
            "match" => self.rule(&mut words, at),
            "smtp" => self.smtp(&mut words, at),
            // These change nothing of what is asked here.
            "admd" | "bounce" | "ca" | "filter" | "mda" | "mta" | "proc" | "queue" | "scheduler" | "srs" => Ok(()),
            _ => Err("is no statement that is known".to_owned()),
        }
    }

    fn include(&mut self, words: &mut Words<'_>, at: &FileLine, depth: u32) -> Result<(), Wrong> {
        let path = words.word().ok_or("include without a file")?;
        words.end()?;
        self.files += 1;
        if depth >= INCLUDE_DEPTH_MAX || self.files > FILES_MAX {
            return Err(format!("{path} is not read: includes go {INCLUDE_DEPTH_MAX} deep or {FILES_MAX} files far"));
        }
        match (self.read)(&path) {
            Seen::Value(bytes) => self.file(&path, &bytes, depth + 1),
            Seen::Absent => return Err(format!("includes {path}, which does not exist")),
            Seen::Unknown(blind) => self.config.troubles.push((at.clone(), blind.why())),
        }
        Ok(())
    }

    fn listen(&mut self, words: &mut Words<'_>, at: &FileLine) -> Result<(), Wrong> {
        words.keyword("on").then_some(()).ok_or("listen without on")?;
        if words.keyword("socket") {
            return Ok(());
        }
        let mut listen = Listen {
            on: words.word().ok_or("listen on without an address")?,
            family: None,
            port: None,
            tls: TlsMode::None,
            auth: Auth::None,
            pkis: Vec::new(),
            tag: None,
            at: at.clone(),
        };
        while let Some(option) = words.word() {
            listen.option(&option, words)?;
        }
        words.end()?;
        if listen.tls == TlsMode::None && (listen.auth != Auth::None || !listen.pkis.is_empty()) {
            return Err("auth and pki need tls or smtps: smtpd refuses to start".to_owned());
        }
        self.config.listeners.push(listen);
        Ok(())
    }

    fn pki(&mut self, words: &mut Words<'_>, at: &FileLine) -> Result<(), Wrong> {
        let name = words.word().ok_or("pki without a name")?.to_ascii_lowercase();
        let pki = self.config.pkis.entry(name).or_default();
        while let Some(option) = words.word() {
            let value = words.word().ok_or("an option of pki without a value")?;
            match option.as_str() {
                "cert" => pki.cert = Some((value, at.clone())),
                "key" => pki.key = Some((value, at.clone())),
                "dhe" => {}
                _ => return Err("an option of pki that is not known".to_owned()),
            }
        }
        words.end()
    }

    fn table(&mut self, words: &mut Words<'_>) -> Result<(), Wrong> {
        let name = words.word().ok_or("table without a name")?;
        let table = match words.list()? {
            Some(values) => Table::Inline(values),
            None => {
                let spec = words.word().ok_or("table without contents")?;
                match spec.strip_prefix("file:").or_else(|| spec.strip_prefix("static:")) {
                    Some(path) => Table::File(path.to_owned()),
                    None if spec.starts_with('/') => Table::File(spec),
                    None => Table::Other(spec),
                }
            }
        };
        self.config.tables.insert(name, table);
        words.end()
    }

    fn action(&mut self, words: &mut Words<'_>, at: &FileLine) -> Result<(), Wrong> {
        let name = words.word().ok_or("action without a name")?;
        let method = match words.word().ok_or("action without a method")?.as_str() {
            "mbox" => Method::Mbox,
            "maildir" => Method::Maildir(words.argument()),
            "lmtp" => Method::Lmtp(words.word().ok_or("lmtp without a destination")?),
            "mda" => {
                words.word().ok_or("mda without a command")?;
                Method::Other
            }
            "expand-only" | "forward-only" => Method::Other,
            "relay" => Method::Relay(Relay::default()),
            _ => return Err("a method of delivery that is not known".to_owned()),
        };
        let mut action = Action { method, is_virtual: false, at: at.clone() };
        while let Some(option) = words.word() {
            action.option(&option, words)?;
        }
        self.config.actions.insert(name, action);
        words.end()
    }

    fn rule(&mut self, words: &mut Words<'_>, at: &FileLine) -> Result<(), Wrong> {
        let mut rule = Match { target: For::Local, from_others: false, action: String::new(), at: at.clone() };
        // `!` and its option; `auth`, which only users can fulfil.
        let mut users_only = false;
        let mut narrowed = false;
        loop {
            let negated = words.sign('!');
            match words.word().ok_or("match without action or reject")?.as_str() {
                "action" => {
                    rule.action = words.word().ok_or("match without the name of its action")?;
                    break;
                }
                "reject" => {
                    let all = matches!(rule.target, For::Any) && rule.from_others && !narrowed && !users_only;
                    if all && self.config.rules.is_empty() && self.config.closed.is_none() {
                        self.config.closed = Some(at.clone());
                    }
                    return words.end();
                }
                "for" => rule.target = target(words, negated)?,
                "from" => {
                    let (others, all) = from_others(words, negated)?;
                    rule.from_others = others;
                    narrowed |= !all;
                }
                "auth" => {
                    words.optional_table()?;
                    users_only |= !negated;
                }
                "tls" => narrowed = true,
                "helo" | "mail-from" | "rcpt-to" | "tag" => {
                    words.regex_or_table()?;
                    narrowed = true;
                }
                _ => return Err("an option of match that is not known".to_owned()),
            }
        }
        rule.from_others &= !users_only;
        self.config.rules.push(rule);
        words.end()
    }

    fn smtp(&mut self, words: &mut Words<'_>, at: &FileLine) -> Result<(), Wrong> {
        if words.keyword("max-message-size") {
            let size = words.word().and_then(|text| bytes_of(&text)).ok_or("max-message-size is no size")?;
            self.config.size = Some((size, at.clone()));
            return words.end();
        }
        Ok(())
    }
}

impl Listen {
    fn option(&mut self, option: &str, words: &mut Words<'_>) -> Result<(), Wrong> {
        match option {
            "inet4" => self.family = Some(Family::Four),
            "inet6" => self.family = Some(Family::Six),
            "port" => self.port = Some(words.word().ok_or("port without a number")?),
            "tls" => self.tls = TlsMode::Starttls,
            "tls-require" => {
                words.keyword("verify");
                self.tls = TlsMode::StarttlsRequired;
            }
            "smtps" => {
                words.keyword("verify");
                self.tls = TlsMode::Implicit;
            }
            "pki" => self.pkis.push(words.word().ok_or("pki without a name")?.to_ascii_lowercase()),
            "auth" => {
                words.optional_table()?;
                self.auth = Auth::Required;
            }
            "auth-optional" => {
                words.optional_table()?;
                self.auth = Auth::Optional;
            }
            "tag" => self.tag = Some(words.word().ok_or("tag without a name")?),
            "filter" => {
                if words.list()?.is_none() {
                    words.word().ok_or("filter without a name")?;
                }
            }
            "ca" | "ciphers" | "hostname" | "protocols" => {
                words.word().ok_or("an option of listen without its value")?;
            }
            "hostnames" => drop(words.table()?),
            "senders" => {
                words.table()?;
                words.keyword("masquerade");
            }
            "mask-src" | "no-dsn" | "proxy-v2" | "received-auth" => {}
            _ => return Err("an option of listen that is not known: the listener is left out".to_owned()),
        }
        Ok(())
    }
}

impl Action {
    fn option(&mut self, option: &str, words: &mut Words<'_>) -> Result<(), Wrong> {
        match (option, &mut self.method) {
            ("virtual" | "userbase", _) => {
                words.table()?;
                self.is_virtual = true;
            }
            ("host", Method::Relay(relay)) => relay.host = Some(words.table()?),
            ("src", Method::Relay(relay)) => relay.source = Some(words.table()?),
            ("pki", Method::Relay(relay)) => {
                relay.pki = Some(words.word().ok_or("pki without a name")?.to_ascii_lowercase());
            }
            ("helo-src", Method::Relay(relay)) => {
                words.table()?;
                relay.helo_by_source = true;
            }
            ("auth", Method::Relay(relay)) => relay.auth = Some(words.table()?),
            ("alias" | "auth" | "domain" | "helo-src", _) => drop(words.table()?),
            ("backup", _) => {
                if words.keyword("mx") {
                    words.word().ok_or("mx without a name")?;
                }
            }
            ("tls", Method::Relay(relay)) => {
                relay.tls = Some(if words.keyword("no-verify") { Certificate::Any } else { Certificate::Valid });
            }
            ("tls", _) => {
                words.keyword("no-verify");
            }
            ("filter", _) => {
                if words.list()?.is_none() {
                    words.word().ok_or("filter without a name")?;
                }
            }
            ("helo", Method::Relay(relay)) => relay.helo = Some(words.word().ok_or("helo without a name")?),
            ("ca" | "ciphers" | "helo" | "mail-from" | "protocols" | "ttl" | "user" | "wrapper", _) => {
                words.word().ok_or("an option of an action without its value")?;
            }
            ("junk" | "rcpt-to" | "srs", _) => {}
            _ => return Err("an option of an action that is not known".to_owned()),
        }
        Ok(())
    }
}

fn target(words: &mut Words<'_>, negated: bool) -> Result<For, Wrong> {
    let target = match words.word().ok_or("for without a destination")?.as_str() {
        "any" => For::Any,
        "local" => For::Local,
        "domain" if words.keyword("regex") => {
            words.table()?;
            For::Other
        }
        "domain" => For::Domains(words.table()?),
        "rcpt-to" => {
            words.regex_or_table()?;
            For::Other
        }
        _ => return Err("a destination of match that is not known".to_owned()),
    };
    Ok(if negated { For::Other } else { target })
}

/// Does `from …` let strangers on other machines in?
/// Whether it means strangers on other machines, and whether all of them.
fn from_others(words: &mut Words<'_>, negated: bool) -> Result<(bool, bool), Wrong> {
    let (others, all) = match words.word().ok_or("from without a source")?.as_str() {
        "any" => (true, true),
        "local" => (false, true),
        "socket" => (false, false),
        "auth" => {
            words.optional_table()?;
            // `!auth` is about strangers alone, `auth` about users.
            return Ok((negated, false));
        }
        "rdns" => {
            words.optional_table()?;
            (true, false)
        }
        "mail-from" | "src" => {
            words.regex_or_table()?;
            (true, false)
        }
        _ => return Err("a source of match that is not known".to_owned()),
    };
    Ok((others != negated, all))
}

/// scan_scaled(3): a number, perhaps with decimals, and one letter of B, K, M, G, T, P, E.
fn bytes_of(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let power = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        "E" => 6,
        _ => return None,
    };
    let factor = 1024u64.checked_pow(power)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Six digits behind the point are less than a byte of a megabyte.
    let part = part.get(..part.len().min(6)).unwrap_or_default();
    let tenths = 10u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part: u64 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let fraction = u128::from(part) * u128::from(factor) / u128::from(tenths);
    whole.checked_mul(factor)?.checked_add(u64::try_from(fraction).ok()?)
}

/// smtpd's reserved words: an argument that is not in quotes is none of them.
const KEYWORDS: &[&str] = &[
    "action",
    "admd",
    "alias",
    "any",
    "auth",
    "auth-optional",
    "backup",
    "bounce",
    "bypass",
    "ca",
    "cert",
    "chain",
    "chroot",
    "ciphers",
    "commit",
    "compression",
    "connect",
    "data",
    "data-line",
    "dhe",
    "disconnect",
    "domain",
    "ehlo",
    "encryption",
    "expand-only",
    "fcrdns",
    "filter",
    "for",
    "forward-only",
    "from",
    "group",
    "helo",
    "helo-src",
    "host",
    "hostname",
    "hostnames",
    "include",
    "inet4",
    "inet6",
    "junk",
    "key",
    "limit",
    "listen",
    "lmtp",
    "local",
    "mail-from",
    "maildir",
    "mask-src",
    "masquerade",
    "match",
    "max-deferred",
    "max-message-size",
    "mbox",
    "mda",
    "mta",
    "mx",
    "no-dsn",
    "no-verify",
    "noop",
    "on",
    "phase",
    "pki",
    "port",
    "proc",
    "proc-exec",
    "protocols",
    "proxy-v2",
    "queue",
    "quit",
    "rcpt-to",
    "rdns",
    "received-auth",
    "recipient",
    "regex",
    "reject",
    "relay",
    "report",
    "rewrite",
    "rset",
    "scheduler",
    "senders",
    "smtp",
    "smtp-in",
    "smtp-out",
    "smtps",
    "socket",
    "src",
    "srs",
    "sub-addr-delim",
    "table",
    "tag",
    "tagged",
    "tls",
    "tls-require",
    "ttl",
    "user",
    "userbase",
    "verify",
    "virtual",
    "warn-interval",
    "wrapper",
];

/// The rest of a statement.
struct Words<'a> {
    tokens: &'a [Token],
}

impl Words<'_> {
    fn word(&mut self) -> Option<String> {
        let (Token::Word { text, .. }, rest) = self.tokens.split_first()? else { return None };
        self.tokens = rest;
        Some(text.clone())
    }

    /// A word that is no keyword.
    fn argument(&mut self) -> Option<String> {
        match self.tokens.first() {
            Some(Token::Word { text, quoted }) if *quoted || !KEYWORDS.contains(&text.as_str()) => self.word(),
            _ => None,
        }
    }

    fn keyword(&mut self, wanted: &str) -> bool {
        let is = matches!(self.tokens.first(), Some(Token::Word { text, quoted: false }) if text == wanted);
        if is {
            let _ = self.word();
        }
        is
    }

    fn sign(&mut self, wanted: char) -> bool {
        match self.tokens.split_first() {
            Some((Token::Sign(sign), rest)) if *sign == wanted => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    fn end(&self) -> Result<(), Wrong> {
        if self.tokens.is_empty() { Ok(()) } else { Err("goes on with something that is not understood".to_owned()) }
    }

    /// `{ a, b }` or `{ key = value }`: the values, or the keys. `None`: no list stands here.
    fn list(&mut self) -> Result<Option<Vec<String>>, Wrong> {
        if !self.sign('{') {
            return Ok(None);
        }
        let mut values = Vec::new();
        loop {
            if self.sign('}') {
                return Ok(Some(values));
            }
            if self.sign(',') {
                continue;
            }
            values.push(self.word().ok_or("a list that is not understood")?);
            if self.sign('=') {
                self.word().ok_or("a list with a key without a value")?;
            }
        }
    }

    fn table(&mut self) -> Result<TableUse, Wrong> {
        if let Some(values) = self.list()? {
            return Ok(TableUse::Inline(values));
        }
        if self.sign('<') {
            let name = self.word().ok_or("a table without a name")?;
            return if self.sign('>') { Ok(TableUse::Named(name)) } else { Err("a < without a >".to_owned()) };
        }
        Ok(TableUse::Inline(vec![self.word().ok_or("a table or a value is missing")?]))
    }

    fn regex_or_table(&mut self) -> Result<(), Wrong> {
        self.keyword("regex");
        self.table().map(drop)
    }

    /// Where a table may stand and need not.
    fn optional_table(&mut self) -> Result<(), Wrong> {
        let is_regex = self.keyword("regex");
        let stands = match self.tokens.first() {
            Some(Token::Sign(sign)) => matches!(sign, '<' | '{'),
            Some(Token::Word { text, quoted }) => *quoted || !KEYWORDS.contains(&text.as_str()),
            None => false,
        };
        if stands || is_regex { self.table().map(drop) } else { Ok(()) }
    }
}
