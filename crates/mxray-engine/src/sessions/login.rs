//! The login at a smarthost, as its own server would make it: with the same user and password, over TLS alone, and only where the
//! server itself would show them. What is not sure to be what the server does is left out: a refusal of ours would accuse it.

use super::Found;
use super::plan::{Other, Role};
use mxray_host::mta::logins;
use mxray_model::evidence::{ClientLogin, Server, Session, SmtpClient};
use mxray_model::{Blind, Seen};
use mxray_wire::sasl::{Login, Mechanism};
use mxray_wire::{Auth, Secret};

/// A login, and whom it may be shown to.
pub(super) struct SmarthostLogin {
    pub auth: Auth,
    /// The server checks the certificate before it says anything.
    pub only_trusted: bool,
}

/// Mechanisms that need no more than the password, those first whose refusal speaks of nothing but the password: a server may
/// offer the others without holding what they need.
const MECHANISMS: [Mechanism; 5] =
    [Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256, Mechanism::ScramSha1, Mechanism::CramMd5];

/// The server's, where it logs in there by what can be read. `Absent`: it says nothing of itself there.
pub(super) fn smarthost_login(other: &Other, server: Option<&Server>, host: &str) -> Seen<SmarthostLogin> {
    let Role::Smarthost { configured, .. } = &other.why else { return Seen::Absent };
    let Some((server, client)) = server.and_then(|server| Some((server, sender(server)?))) else { return Seen::Absent };
    let Some(login) = &client.login else { return Seen::Absent };
    let mechanisms = mechanisms(login);
    if mechanisms.is_empty() {
        return Seen::not_attempted("the server's login at its smarthost takes more than a password");
    }
    logins::login(server, client, host, configured).map(|found| {
        let auth = Auth { mechanisms, ..Auth::with_password(Login::new(&found.user, Secret::new(found.password)), "") };
        SmarthostLogin { auth, only_trusted: checks_certificate(&client.tls_level.value) }
    })
}

/// Writes down why nobody logged in where the server would have.
pub(super) fn note_untried(found: &mut Found, why: &Blind) {
    for examined in found.endpoints.values_mut().flat_map(|endpoint| endpoint.addresses.values_mut()) {
        if let Seen::Value(Session::Smtp(session)) = &mut examined.session {
            session.auth = Seen::Unknown(why.clone());
        }
    }
}

/// The service that carries mail to the smarthost: Postfix's `smtp`, where there is one by that name; of other servers the
/// one that logs in.
fn sender(server: &Server) -> Option<&SmtpClient> {
    let first = || server.clients.values().next();
    match server.software.as_str() {
        "postfix" => server.clients.get("smtp/unix").or_else(first),
        _ => server.clients.values().find(|client| client.login.is_some()).or_else(first),
    }
}

/// All levels above `encrypt` check who answers (postconf(5), smtp_tls_security_level).
fn checks_certificate(level: &str) -> bool {
    !matches!(level, "" | "none" | "may" | "encrypt")
}

/// Those that the server may choose. A filter that is more than a list of names is not understood, and nothing is chosen.
fn mechanisms(login: &ClientLogin) -> Vec<Mechanism> {
    let words = |text: &str| text.split([',', ' ', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let filter: Vec<String> = words(&login.mechanisms);
    let options: Vec<String> = words(&login.options);
    let in_clear = |mechanism: &Mechanism| matches!(mechanism, Mechanism::Plain | Mechanism::Login);
    let allowed = |mechanism: &&Mechanism| {
        let named = filter.is_empty() || filter.iter().any(|name| Mechanism::named(name) == Some(**mechanism));
        named && !(in_clear(mechanism) && options.iter().any(|option| option == "noplaintext"))
    };
    if filter.iter().any(|word| word.contains(['!', ':', '/'])) || options.iter().any(|word| word == "mutual_auth") {
        return Vec::new();
    }
    MECHANISMS.iter().filter(allowed).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_itself_would_use() {
        let of = |mechanisms: &str, options: &str| {
            let login = ClientLogin {
                mechanisms: mechanisms.to_owned(),
                options: options.to_owned(),
                ..ClientLogin::default()
            };
            super::mechanisms(&login).into_iter().map(Mechanism::name).collect::<Vec<_>>()
        };
        assert_eq!(of("", "noanonymous"), ["PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"]);
        assert_eq!(of("", "noplaintext, noanonymous"), ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"]);
        assert_eq!(of("plain, login", "noanonymous"), ["PLAIN", "LOGIN"]);
        // Their password is a token's file.
        assert!(of("xoauth2", "noanonymous").is_empty());
        assert!(of("!gssapi, static:all", "noanonymous").is_empty());
    }

    #[test]
    fn levels_above_encrypt_check_who_answers() {
        for (level, checks) in [("may", false), ("encrypt", false), ("verify", true), ("secure", true), ("dane", true)]
        {
            assert_eq!(checks_certificate(level), checks, "{level}");
        }
    }
}
