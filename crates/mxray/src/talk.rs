//! `talk`: a session with a mail server, led by whoever types. For people who used telnet for it.
//!
//! `command` and `words` are what can be typed, `input` and `editor` where it comes from, `address` where it goes, `session`
//! holds it, `act` does what a line says, `screen` shows it. What a reply is belongs to `mxray_wire::dialogue`.
//!
//! What must not live here: protocol states (`mxray-wire`), sockets and TLS (`mxray-net`), the meaning of codes
//! (`mxray-render`).

mod act;
mod address;
mod command;
mod editor;
mod input;
mod save;
mod screen;
mod session;
mod tls_words;
mod words;

use crate::config::{Config, parse};
use crate::environment::Environment;
use crate::exit::{self, Failure};
use crate::output::Output;
use crate::outside::{credentials, ehlo_name};
use act::Acted;
use clap::{Args, ValueEnum};
use input::Input;
use mxray_model::evidence::SessionProtocol;
use mxray_net::TlsPlan;
use mxray_render::Style;
use mxray_wire::dialogue::Dialogue;
use screen::Screen;
use session::{End, Plan, Session};
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How long a script waits for a reply: servers delay greetings and refusals on purpose, by up to half a minute.
const PATIENCE: Duration = Duration::from_secs(60);

const EXAMPLES: &str = "\
What is typed goes out with CRLF behind it. Lines that begin with a slash are
for mxray: /help lists them.

Exit codes:
  0   the session was held to its end, whatever the server said
  2   no connection, or the session broke off before that
  64  the command line cannot be used

Examples:
  mxray talk mx.example.org
      a session on port 25, line by line
  mxray talk mx.example.org:587 --starttls --user tim
      with TLS from the beginning; /auth then logs in
  mxray talk imaps://mail.example.org
      IMAP under TLS
  mxray talk mx:example.org
      with whoever takes the domain's mail
  printf 'EHLO me.example\\nMAIL FROM:<>\\nRSET\\nQUIT\\n' | mxray talk mx.example.org
      a script: each line waits for the reply to the one before it
  mxray talk mx.example.org --save case.smtp
      keep what was said as a scenario file, secrets masked
";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TalkArgs {
    /// host, host:port, smtp://, smtps://, submission://, lmtp://, imap://, imaps://, pop3://, pop3s://, sieve://,
    /// mx:DOMAIN, or unix:/path; without a port 25
    #[arg(value_name = "HOST[:PORT]")]
    pub target: String,

    /// TLS from the first byte, as on ports 465, 993 and 995
    #[arg(long, conflicts_with_all = ["starttls", "plain"])]
    pub tls: bool,

    /// Ask for STARTTLS (STLS) as soon as the greeting has come
    #[arg(long, conflicts_with = "plain")]
    pub starttls: bool,

    /// No TLS at first, whatever the port or the scheme says
    #[arg(long)]
    pub plain: bool,

    /// What is spoken, where the port does not say it
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub protocol: Option<ProtocolName>,

    /// Say EHLO (LHLO, CAPABILITY, CAPA) at the beginning, with this name; without it, /ehlo uses this host's name
    #[arg(long, value_name = "NAME")]
    pub ehlo: Option<String>,

    /// Who /auth logs in
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,

    /// Where the password for /auth is: env:NAME or file:/path; without it, /auth asks
    // Not parsed here: a complaint of clap's repeats what was typed.
    #[arg(long, value_name = "PLACE")]
    pub password: Option<String>,

    /// The name for TLS: sent as SNI, and compared with the certificate
    #[arg(long, value_name = "NAME")]
    pub sni: Option<String>,

    /// Connect from this address
    #[arg(long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,

    /// Only addresses of IPv4
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,

    /// Only addresses of IPv6
    #[arg(short = '6', long)]
    pub ipv6: bool,

    /// At the end, write what was said as a scenario file, secrets masked
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,

    /// A script does not wait for replies: all lines go out at once behind the greeting
    #[arg(long)]
    pub no_wait: bool,

    /// How long a script waits for a reply, in seconds [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = parse::deadline)]
    pub patience: Option<Duration>,
}

/// The protocols, as they are named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProtocolName {
    Smtp,
    Lmtp,
    Imap,
    Pop3,
    /// ManageSieve
    Sieve,
}

impl From<ProtocolName> for SessionProtocol {
    fn from(name: ProtocolName) -> Self {
        match name {
            ProtocolName::Smtp => SessionProtocol::Smtp,
            ProtocolName::Lmtp => SessionProtocol::Lmtp,
            ProtocolName::Imap => SessionProtocol::Imap,
            ProtocolName::Pop3 => SessionProtocol::Pop3,
            ProtocolName::Sieve => SessionProtocol::Sieve,
        }
    }
}

pub fn run(args: &TalkArgs, config: &Config, environment: &Environment, output: &mut Output) -> Result<u8, Failure> {
    let wanted = address::wanted(args).map_err(Failure::Usage)?;
    let password = credentials::place(args.password.as_deref()).map_err(Failure::Usage)?;
    let ehlo = args.ehlo.clone().unwrap_or_else(ehlo_name);
    let mut notes = Vec::new();
    let connected = address::connect(&wanted, args, config, &mut |note| notes.push(note.to_owned()));
    // A terminal that cannot be edited on shows by itself what is typed there; a pipe does not.
    let typed = std::io::stdin().is_terminal();
    let editable = typed && std::io::stdout().is_terminal() && !environment.dumb_terminal;
    let input = Input::new(editable && connected.is_ok());
    let typing = match &input {
        Input::Typed { editor, .. } => Some(editor.typing()),
        Input::Script(_) => None,
    };
    let mut screen = Screen::new(output, typing);
    screen.echo = !typed || !editable && !std::io::stdout().is_terminal();
    notes.iter().for_each(|note| screen.note(Style::Faint, note));
    let connected = connected.map_err(|error| {
        let said = notes.last().is_some_and(|last| *last == error);
        Failure::Unanswered(if said { "no connection".to_owned() } else { error })
    })?;
    let name = args.sni.clone().or_else(|| connected.name.clone());
    let plan = Plan {
        tls: TlsPlan { server_name: name.clone(), reference_name: name, ..TlsPlan::default() },
        patience: args.patience.unwrap_or(PATIENCE),
        no_wait: args.no_wait,
        ehlo,
        peer: connected.peer.clone(),
        private: connected.private,
        user: args.user.clone().or_else(|| config.settings.submission.user.clone()),
        password: password.or_else(|| config.settings.submission.password.clone()),
    };
    let mut session = Session::new(plan, Dialogue::new(wanted.protocol), screen, connected, input);
    begin(&mut session, &wanted, args);
    let end = session.hold();
    finish(session, &end, args)
}

/// What the command line asks for before anything is typed.
fn begin(session: &mut Session<'_>, wanted: &address::Wanted, args: &TalkArgs) {
    if wanted.implicit_tls {
        session.handshake();
    }
    if wanted.starttls || args.ehlo.is_some() {
        session.await_greeting();
    }
    if wanted.starttls
        && session.is_open()
        && let Acted::Not(why) = session.starttls()
    {
        session.give_up(&why);
    }
    if args.ehlo.is_some() && session.is_open() {
        session.greet();
    }
}

/// What is to be said and done at the end, and the exit code.
fn finish(mut session: Session<'_>, end: &End, args: &TalkArgs) -> Result<u8, Failure> {
    let (complete, said) = match end {
        End::Left | End::Unread => (true, None),
        End::Gone => (false, None),
        End::Closed => (session.has_nothing_left(), Some("the server closed the connection".to_owned())),
        End::Broke(error) => (false, Some(format!("the connection broke: {error}"))),
        End::Silent => (false, Some("nothing came in time".to_owned())),
        End::HandshakeFailed => (false, Some("without TLS nothing more can be said on this connection".to_owned())),
        End::Injected => (false, Some("what is said here cannot be trusted any further".to_owned())),
        End::Stuck => (false, Some("the script ends here".to_owned())),
        End::Signalled => (false, Some("ended by a signal".to_owned())),
    };
    session.farewell(end);
    if let Some(file) = &args.save
        && let Acted::Not(why) = session.save(file, false)
    {
        session.say_aside(&why);
    }
    if let Some(said) = said {
        session.say_aside(&said);
    }
    let editing = session.is_editing();
    let (mut screen, input) = session.close();
    // Puts the terminal back before anything else is said.
    drop(input);
    if editing {
        // Behind the prompt that was not answered.
        screen.editing = false;
        screen.page("\n");
    }
    if let Some(error) = screen.failure() {
        return Err(Failure::Output(error));
    }
    Ok(if complete { exit::OK } else { exit::UNANSWERED })
}
