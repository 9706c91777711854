//! AUTH106: a login was tried and did not succeed.

use crate::logins;
use crate::outside::{self, Contact, Stake, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::evidence::{ExaminedEndpoint, Session};
use mxray_model::session::{Answer, AuthAttempt, Reply};
use mxray_model::{Blind, Evidence, Fix, Mover, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "AUTH106",
    name: "auth-fails",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a login fails: the mechanism, how far it came, and what the server says of it",
    page: include_str!("auth_fails.md"),
    check,
};

/// What a refusal means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// The name or the password is wrong, or the account is closed.
    Credentials,
    /// Whatever checks passwords does not work now.
    ServiceDown,
    /// Later: the mailbox is in use, too many tries.
    Later,
    /// Not without TLS, or not with a mechanism as weak as this.
    NeedsTls,
    /// This mechanism, or any login, is not taken here.
    NotTaken,
    /// The server did not prove that it knows the password.
    Impostor,
    /// We broke it off.
    Cancelled,
    Other,
}

impl Meaning {
    fn word(self) -> &'static str {
        match self {
            Meaning::Credentials => "credentials",
            Meaning::ServiceDown => "service_down",
            Meaning::Later => "later",
            Meaning::NeedsTls => "needs_tls",
            Meaning::NotTaken => "not_taken",
            Meaning::Impostor => "server_not_proven",
            Meaning::Cancelled => "cancelled",
            Meaning::Other => "other",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Meaning::Credentials => "the name or the password is wrong, or the account may not log in",
            Meaning::ServiceDown => "the service that checks passwords does not work now, so that nobody can log in",
            Meaning::Later => "it is refused for now",
            Meaning::NeedsTls => "the server wants TLS, or a stronger mechanism, first",
            Meaning::NotTaken => "the server does not take this way to log in",
            Meaning::Impostor => "the server did not prove that it knows the password",
            Meaning::Cancelled => "it was broken off",
            Meaning::Other => "the server refuses it",
        }
    }
}

struct Failed {
    mechanism: String,
    tls: bool,
    challenges: u32,
    said: String,
    /// In the mechanism's own way.
    detail: Option<String>,
    meaning: Meaning,
}

fn check(evidence: &Evidence) -> Said {
    outside::each(evidence, &RULE, "the login succeeds", judge, |bad| {
        let failed = &bad.first.1;
        let endpoint = bad.endpoint;
        let own = outside::stake(endpoint) == Stake::Own;
        let severity = match failed.meaning {
            Meaning::Later => Severity::Warning,
            Meaning::ServiceDown if !own => Severity::Warning,
            _ => RULE.severity,
        };
        let detail = failed.detail.as_ref().map(|detail| format!(" ({})", replies::short(detail))).unwrap_or_default();
        let summary = format!(
            "The login at {} with {} fails: {}. The server says: {}{detail}.",
            bad.whose(),
            failed.mechanism,
            failed.meaning.text(),
            failed.said.trim_end_matches('.')
        );
        let mut finding = bad
            .finding(&RULE, severity, summary)
            .data("mechanism", failed.mechanism.clone())
            .data("under_tls", failed.tls)
            .data("challenges", failed.challenges)
            .data("meaning", failed.meaning.word())
            .data("said", failed.said.clone())
            .data("detail", failed.detail.clone())
            .reference("RFC 4954 section 6");
        if endpoint.protocol.mailbox().is_some() {
            finding = finding.reference("RFC 5530");
        }
        finding.whose_move = whose_move(failed.meaning, own);
        let place = if endpoint.protocol.mailbox().is_some() { &at::MAILBOX } else { &at::SMTP };
        let finding = bad.because(finding, place, |failed| {
            format!("{} after {} challenges: {}", failed.mechanism, failed.challenges, failed.said)
        });
        let step = step(evidence, endpoint, failed.meaning);
        let finding = finding.fix(step.verify(outside::probe_command(endpoint, " --user NAME")));
        // The fault of the service that checks passwords explains this one; a wrong password has nothing to do with it.
        if failed.meaning == Meaning::ServiceDown {
            logins::touching_sasl(finding, evidence, endpoint)
        } else {
            finding
        }
    })
}

fn whose_move(meaning: Meaning, own: bool) -> Mover {
    match meaning {
        Meaning::Later => Mover::Nobody,
        Meaning::ServiceDown if !own => Mover::Receiver,
        _ => Mover::Us,
    }
}

fn step(evidence: &Evidence, endpoint: &ExaminedEndpoint, meaning: Meaning) -> Fix {
    match meaning {
        Meaning::Credentials => Fix::here(
            "Try the same name and password in the mail program; some providers want the whole address as name, or a password made for this program alone. With OAuth the token has run out or lacks the scope for this protocol.",
        ),
        Meaning::ServiceDown => match outside::own(evidence, endpoint) {
            Some(_) => {
                let helper = logins::sasl_of(evidence, endpoint).into_iter().next();
                let which =
                    helper.map_or_else(String::new, |helper| format!(" ({} at {})", helper.setting, helper.endpoint));
                Fix::here(format!("Bring the service that checks passwords{which} back, and look into its log."))
                    .command("mxray doctor")
            }
            None => outside::step(
                endpoint,
                "Bring the service that checks passwords back; to those who log in: try again later.",
            ),
        },
        Meaning::Later => Fix::here("Try again after some minutes, with no other program logged in."),
        Meaning::NeedsTls => Fix::here("Use STARTTLS or the port with TLS from the first byte before the login."),
        Meaning::NotTaken => Fix::here("Use another mechanism of those that the server announces under TLS."),
        Meaning::Impostor => Fix::here(
            "Do not log in there again with this password before it is clear who answers: a server that does not know the password may want to learn it.",
        ),
        Meaning::Cancelled | Meaning::Other => {
            Fix::here("Look into the server's log at this moment: what it tells the client is kept short on purpose.")
        }
    }
}

fn judge(contact: Contact<'_>) -> Verdict<Failed> {
    match &contact.seen.session {
        Seen::Value(Session::Smtp(session)) => of_attempt(contact, &session.auth, |reply: &Reply| {
            (reply.is_positive(), replies::said(reply), of_smtp(reply))
        }),
        Seen::Value(Session::Mailbox(session)) => of_attempt(contact, &session.login, |answer: &Answer| {
            (answer.ok, replies::answered(answer), of_mailbox(answer))
        }),
        // Without a session nobody tried.
        Seen::Absent | Seen::Unknown(_) => Verdict::Silent,
    }
}

fn of_attempt<R>(
    contact: Contact<'_>,
    attempt: &Seen<AuthAttempt<R>>,
    read: impl Fn(&R) -> (bool, String, Meaning),
) -> Verdict<Failed> {
    let attempt = match attempt {
        Seen::Value(attempt) => attempt,
        // Nothing is offered (AUTH108), or nobody asked.
        Seen::Absent | Seen::Unknown(Blind::NotAttempted { .. }) => return Verdict::Silent,
        Seen::Unknown(blind) => return Verdict::Blind(blind.clone()),
    };
    let failed = |said: String, meaning: Meaning| {
        Verdict::Bad(Failed {
            mechanism: attempt.mechanism.clone(),
            tls: attempt.tls,
            challenges: attempt.challenges,
            said,
            detail: attempt.server_said.clone(),
            meaning,
        })
    };
    if attempt.server_proved_itself == Some(false) {
        let said = attempt.reply.value().map_or_else(|| "nothing".to_owned(), |reply| read(reply).1);
        return failed(said, Meaning::Impostor);
    }
    match &attempt.reply {
        Seen::Value(reply) => match read(reply) {
            (true, ..) => Verdict::Well,
            (false, said, _) if attempt.cancelled.is_some() && attempt.server_said.is_none() => {
                failed(said, Meaning::Cancelled)
            }
            (false, said, meaning) => failed(said, meaning),
        },
        Seen::Unknown(blind) => {
            Verdict::Blind(Blind::NotAttempted { why: format!("the login at {}: {}", contact.name(), blind.why()) })
        }
        Seen::Absent => Verdict::Silent,
    }
}

/// RFC 4954 section 6.
fn of_smtp(reply: &Reply) -> Meaning {
    match reply.code {
        454 => Meaning::ServiceDown,
        432 => Meaning::Credentials,
        400..=499 => Meaning::Later,
        535 => Meaning::Credentials,
        530 | 534 | 538 => Meaning::NeedsTls,
        500..=504 => Meaning::NotTaken,
        _ => Meaning::Other,
    }
}

/// RFC 5530 for IMAP, RFC 2449 and RFC 3206 for POP3, RFC 5804 section 1.3 for ManageSieve.
fn of_mailbox(answer: &Answer) -> Meaning {
    let code = answer.code.as_deref().unwrap_or_default().to_ascii_uppercase();
    match code.split([' ', '(']).next().unwrap_or_default() {
        "AUTHENTICATIONFAILED" | "AUTHORIZATIONFAILED" | "EXPIRED" | "AUTH" | "CONTACTADMIN" => Meaning::Credentials,
        "UNAVAILABLE" | "SYS/TEMP" | "SERVERBUG" | "SYS/PERM" => Meaning::ServiceDown,
        "INUSE" | "IN-USE" | "LOGIN-DELAY" | "LIMIT" | "TRYLATER" => Meaning::Later,
        "PRIVACYREQUIRED" | "ENCRYPT-NEEDED" | "AUTH-TOO-WEAK" => Meaning::NeedsTls,
        "CANNOT" | "TRANSITION-NEEDED" => Meaning::NotTaken,
        _ if answer.status == "BAD" => Meaning::NotTaken,
        _ => Meaning::Credentials,
    }
}
