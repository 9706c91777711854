//! What can be typed behind `mxray send`.

use super::stop::StopStage;
use crate::cli::ListFormat;
use clap::{Args, ValueEnum};
use mxray_model::session::TlsVersion;
use mxray_wire::sasl::Mechanism;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Send a message, and say what each server said of each recipient.
///
/// Without --server, to the mail exchangers of each recipient's domain, as a mail server would.
/// A message that is given keeps its bytes; header fields are added where they are missing, and only then.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct SendArgs {
    #[command(flatten)]
    pub message: MessageArgs,
    #[command(flatten)]
    pub envelope: EnvelopeArgs,
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub tls: TlsArgs,
    #[command(flatten)]
    pub login: LoginArgs,
    #[command(flatten)]
    pub session: SessionArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

const EXAMPLES: &str = "\
Exit codes: 0 every recipient was accepted, 1 one was refused or put off (or not sent to because of an option of yours), 2 it could
not be found out (no server was reached, a connection broke), 64 usage.

Examples:
  mxray send --from me@example.org --to you@example.net
      a test message to the mail exchangers of example.net
  mxray send --server mail.example.org:587 --tls required --user me --from me@example.org --to you@example.net
      through a submission service; the password is asked for
  mxray send --server 127.0.0.1 --to root@example.org --subject hello --text 'a line' --attach report.pdf
      with a text and a file, to the server on this host
  mxray send --to you@example.net message.eml
      a message as it is in a file; `-` reads standard input
  mxray send --unix /run/dovecot/lmtp --lmtp --to user@example.org
      into the mailbox server, past the mail server
  mxray send --server mx.example.net --to you@example.net --quit-after rcpt --json
      everything but the message, for a script
  mxray send --to you@example.net --tls-verify --dry-run
      what would be sent, and to whom
";

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Message")]
pub struct MessageArgs {
    /// A message, or text for one; `-` reads standard input
    ///
    /// What has header fields of a message is one, and is sent as it is; only Date, From and Message-ID are added where
    /// missing, and what --subject, --header and --cc say. Anything else becomes the text.
    #[arg(value_name = "FILE", conflicts_with_all = ["text", "text_file"])]
    pub file: Option<PathBuf>,
    /// The text
    #[arg(long, value_name = "TEXT", conflicts_with = "text_file")]
    pub text: Option<String>,
    /// The text from a file, whatever it looks like; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub text_file: Option<PathBuf>,
    /// HTML from a file, beside the text or instead of it
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Attach a file; its type by its name, or behind a colon (may be given more than once)
    #[arg(long, value_name = "FILE[:TYPE]")]
    pub attach: Vec<String>,
    /// The subject [default: mxray test and the time]
    #[arg(long, value_name = "TEXT")]
    pub subject: Option<String>,
    /// A header field, where the message has none of its name (may be given more than once)
    #[arg(long, value_name = "NAME: VALUE", allow_hyphen_values = true)]
    pub header: Vec<String>,
    /// A header field in any case, in front of the others (may be given more than once)
    #[arg(long, value_name = "NAME: VALUE", allow_hyphen_values = true)]
    pub add_header: Vec<String>,
    /// Add nothing to FILE: its bytes, with CRLF as line ends
    #[arg(long, requires = "file", conflicts_with_all = ["html", "attach", "subject", "header", "add_header", "cc"])]
    pub raw: bool,
    /// With --raw: leave line ends as they are, too
    #[arg(long, requires = "raw")]
    pub exact: bool,
    /// With --exact: also where CR or LF stand alone (SMTP smuggling); only to this host itself
    #[arg(long, requires = "exact")]
    pub bare_line_ends: bool,
    /// Text with 8 bits as it is, instead of encoded: for servers with 8BITMIME
    #[arg(long = "8bit")]
    pub eight_bit: bool,
    /// Send 8 bits also to servers without 8BITMIME
    #[arg(long = "send-8bit-anyway")]
    pub eight_bit_anyway: bool,
    /// UTF-8 in header fields as it is, instead of encoded: for servers with SMTPUTF8
    ///
    /// Addresses with characters beyond ASCII need it in any case.
    #[arg(long)]
    pub smtputf8: bool,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Envelope")]
pub struct EnvelopeArgs {
    /// A recipient (may be given more than once)
    #[arg(long, short, value_name = "ADDRESS", required_unless_present_any = ["cc", "bcc"])]
    pub to: Vec<String>,
    /// A recipient that stands in Cc
    #[arg(long, value_name = "ADDRESS")]
    pub cc: Vec<String>,
    /// A recipient that stands in no field
    #[arg(long, value_name = "ADDRESS")]
    pub bcc: Vec<String>,
    /// The sender; '' is the null sender <> [default: the user's name at this host's name]
    #[arg(long, short, value_name = "ADDRESS")]
    pub from: Option<String>,
    /// DSN: what comes back of the message with a notice (RFC 3461)
    #[arg(long, value_enum, value_name = "PART", ignore_case = true)]
    pub dsn_return: Option<DsnReturn>,
    /// DSN: an identifier of yours that notices carry
    #[arg(long, value_name = "TEXT")]
    pub dsn_id: Option<String>,
    /// DSN: when to notify: never, or some of success,failure,delay
    #[arg(long, value_name = "WHEN", value_parser = notify)]
    pub dsn_notify: Option<String>,
    /// DSN: tell the recipient's address as it is here (ORCPT)
    #[arg(long)]
    pub dsn_recipient: bool,
    /// One more parameter of MAIL, as it is: REQUIRETLS, SIZE=1 (may be given more than once)
    #[arg(long, value_name = "WORD")]
    pub mail_parameter: Vec<String>,
    /// One more parameter of each RCPT, as it is
    #[arg(long, value_name = "WORD")]
    pub rcpt_parameter: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DsnReturn {
    /// All of it
    Full,
    /// Its header
    Hdrs,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// Send through this server instead of the recipients' exchangers; several are tried in order
    #[arg(long, short, value_name = "HOST[:PORT]")]
    pub server: Vec<String>,
    /// The port, where none stands with the host [default: 25; 24 with --lmtp; 465 with --tls implicit]
    #[arg(long, short, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Send into this UNIX socket
    #[arg(long, value_name = "PATH", conflicts_with_all = ["server", "port", "source", "ipv4", "ipv6", "proxy"])]
    pub unix: Option<PathBuf>,
    /// LMTP: a reply for each recipient behind the message (RFC 2033)
    #[arg(long)]
    pub lmtp: bool,
    /// Only addresses of IPv4
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// Only addresses of IPv6
    #[arg(short = '6', long)]
    pub ipv6: bool,
    /// Connect from this address; then only to addresses of its family
    #[arg(long, value_name = "ADDR")]
    pub source: Option<IpAddr>,
    /// How long to wait for a connection and for each reply; 10 minutes behind the message, as RFC 5321 has it
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub timeout: Duration,
}

/// How TLS begins, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TlsWish {
    /// Not at all
    None,
    /// STARTTLS where it is offered
    Opportunistic,
    /// STARTTLS in any case, and nothing without it
    Required,
    /// From the first byte
    Implicit,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// When [default: implicit with port 465, else opportunistic]
    #[arg(long, value_enum, value_name = "MODE")]
    pub tls: Option<TlsWish>,
    /// Send nothing unless the certificate is trusted by this host and has the server's name
    ///
    /// Without it, what is wrong is said, and the message is sent.
    #[arg(long)]
    pub tls_verify: bool,
    /// The same, with this name instead of the server's
    #[arg(long, value_name = "NAME")]
    pub tls_verify_name: Option<String>,
    /// Trust the certificates in this file (PEM), and no others
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The oldest version: 1.2 or 1.3
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub tls_min: Option<TlsVersion>,
    /// The newest version: 1.2 or 1.3
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub tls_max: Option<TlsVersion>,
    /// Show this certificate to servers that ask for one (PEM, with those that signed it)
    #[arg(long, value_name = "FILE")]
    pub client_cert: Option<PathBuf>,
    /// Its key [default: in the file of --client-cert]
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
    /// The name that is asked for (SNI); '' asks for none [default: the server's]
    #[arg(long, value_name = "NAME")]
    pub sni: Option<String>,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Login")]
pub struct LoginArgs {
    /// Log in as this user; nothing is sent where that fails
    #[arg(long, short, value_name = "NAME")]
    pub user: Option<String>,
    /// Where the password is: env:NAME or file:/path [default: it is asked for]
    // Not parsed here: a complaint of clap's repeats what was typed.
    #[arg(long, value_name = "PLACE", requires = "user")]
    pub password: Option<String>,
    /// Mechanisms that may be used, best first [default: all with a password that the server offers, strongest first]
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "user", value_parser = mechanism)]
    pub mechanism: Vec<Mechanism>,
    /// Act for this user (SASL's authorization identity)
    #[arg(long, value_name = "NAME", requires = "user")]
    pub authorize_as: Option<String>,
    /// Send also where no login is possible; a login that is refused still ends it
    #[arg(long, requires = "user")]
    pub auth_optional: bool,
    /// Show the password to everybody on the way: PLAIN and LOGIN without TLS, also to other hosts
    #[arg(long, requires = "user")]
    pub auth_in_clear: bool,
    /// Let the server ask for the first message of the login
    #[arg(long, requires = "user")]
    pub no_initial_response: bool,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Session")]
pub struct SessionArgs {
    /// Who we say that we are (EHLO) [default: this host's full name]
    #[arg(long, value_name = "NAME")]
    pub helo: Option<String>,
    /// HELO instead of EHLO, so without extensions
    #[arg(long, conflicts_with = "lmtp")]
    pub helo_only: bool,
    /// Commands in groups, where the server offers PIPELINING
    #[arg(long)]
    pub pipelining: bool,
    /// BDAT instead of DATA, where the server offers CHUNKING; in chunks of so many bytes
    #[arg(long, value_name = "BYTES", num_args = 0..=1, require_equals = true)]
    pub chunking: Option<Option<NonZeroUsize>>,
    /// Postfix's XCLIENT: NAME=VALUE, to be taken for another client (may be given more than once)
    #[arg(long, value_name = "NAME=VALUE")]
    pub xclient: Vec<String>,
    /// Begin with a header of the PROXY protocol, version 1 or 2
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub proxy: Option<u8>,
    /// The client that it names; without it, it names nobody
    #[arg(long, value_name = "ADDR:PORT", requires_all = ["proxy", "proxy_destination"])]
    pub proxy_source: Option<SocketAddr>,
    /// The server that the client had connected to
    #[arg(long, value_name = "ADDR:PORT", requires = "proxy_source")]
    pub proxy_destination: Option<SocketAddr>,
    /// Stop behind the reply at this stage, with QUIT
    #[arg(long, value_enum, value_name = "STAGE", conflicts_with_all = ["drop_after", "drop_after_send"])]
    pub quit_after: Option<StopStage>,
    /// Stop behind the reply at this stage, and close without QUIT
    #[arg(long, value_enum, value_name = "STAGE", conflicts_with = "drop_after_send")]
    pub drop_after: Option<StopStage>,
    /// Close as soon as this stage's command is written
    #[arg(long, value_enum, value_name = "STAGE")]
    pub drop_after_send: Option<StopStage>,
}

#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print the message and where it would go, and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Leave out the conversation
    #[arg(long, short)]
    pub quiet: bool,
    /// Output format [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    pub format: Option<ListFormat>,
    /// Short for --format json
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "not a number of seconds from 1 to 3600".to_owned())
}

fn version(text: &str) -> Result<TlsVersion, String> {
    match text.trim_start_matches(['v', 'V']) {
        "1.2" => Ok(TlsVersion::Tls12),
        "1.3" => Ok(TlsVersion::Tls13),
        _ => Err("1.2 or 1.3; whether a server still speaks older ones, `mxray probe` tells".to_owned()),
    }
}

fn mechanism(text: &str) -> Result<Mechanism, String> {
    Mechanism::named(text).ok_or_else(|| {
        "not one of SCRAM-SHA-256-PLUS, SCRAM-SHA-1-PLUS, SCRAM-SHA-256, SCRAM-SHA-1, EXTERNAL, OAUTHBEARER, XOAUTH2, CRAM-MD5, \
         PLAIN, LOGIN"
            .to_owned()
    })
}

/// RFC 3461 section 4.1: NEVER stands alone.
fn notify(text: &str) -> Result<String, String> {
    let words: Vec<String> = text.split(',').map(|word| word.trim().to_ascii_uppercase()).collect();
    let some = words.iter().all(|word| matches!(word.as_str(), "SUCCESS" | "FAILURE" | "DELAY"));
    if some || words == ["NEVER"] {
        Ok(words.join(","))
    } else {
        Err("never, or some of success,failure,delay".to_owned())
    }
}
