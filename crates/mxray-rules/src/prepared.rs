//! Which of this host's addresses names are prepared for: what ROUTE104 and ID108 share. No judgement stands here.

use crate::published::{self, Sender};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::published::{SenderAddress, SenderWhy, SpfResult};
use mxray_model::{Evidence, Fix, Seen};
use std::net::IpAddr;

/// An address of this host that mail could leave from and does not.
#[derive(Clone, Copy)]
pub struct Spare<'a> {
    pub text: &'a str,
    pub address: IpAddr,
    pub sender: &'a SenderAddress,
}

impl Spare<'_> {
    pub fn pointer(&self, rest: &[&str]) -> String {
        view::pointer(["names", "spares", self.text].iter().chain(rest))
    }
}

/// Those of the same family: a receiver of one family sees addresses of that one alone.
pub fn spares<'a>(evidence: &'a Evidence, sender: &Sender<'_>) -> Vec<Spare<'a>> {
    let all = evidence.names.spares.iter();
    all.filter_map(|(text, spare)| Some(Spare { text, address: text.parse().ok()?, sender: spare }))
        .filter(|spare| spare.address.is_ipv4() == sender.address.is_ipv4())
        .collect()
}

/// SPF says something else than pass, and means it.
fn is_refused(result: SpfResult) -> bool {
    matches!(result, SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral)
}

/// Domains whose SPF does not let this address pass.
pub fn refused<'a>(sender: &Sender<'a>) -> Vec<&'a str> {
    let all = sender.sender.spf.iter();
    all.filter(|(_, verdict)| is_refused(verdict.result)).map(|(domain, _)| domain.as_str()).collect()
}

/// A domain whose SPF lets the other address pass, and not this one.
pub fn passes_instead<'a>(sender: &Sender<'a>, spare: &Spare<'_>) -> Option<&'a str> {
    let passes = |domain: &str| spare.sender.spf.get(domain).is_some_and(|verdict| verdict.result == SpfResult::Pass);
    refused(sender).into_iter().find(|domain| passes(domain))
}

/// The other address has a confirmed name, and passes SPF wherever this one does not.
pub fn is_prepared(sender: &Sender<'_>, spare: &Spare<'_>) -> bool {
    let passes = |domain: &&str| spare.sender.spf.get(*domain).is_some_and(|verdict| verdict.result == SpfResult::Pass);
    spare.sender.confirmed.value().is_some_and(|names| !names.is_empty()) && refused(sender).iter().all(passes)
}

/// What is not known of the address that mail leaves from.
pub fn undecided(sender: &Sender<'_>) -> Option<String> {
    if let Seen::Unknown(blind) = &sender.sender.confirmed {
        return Some(blind.why());
    }
    let late = sender.sender.spf.iter().find(|(_, verdict)| verdict.result == SpfResult::TempError);
    late.map(|(domain, verdict)| format!("SPF of {domain} for {}: {}", sender.text, verdict.reason))
}

/// The step that has mail leave from the other address.
pub fn bind_step(evidence: &Evidence, sender: &Sender<'_>, spare: &Spare<'_>) -> Fix {
    let (at, other) = (sender.text, spare.text);
    let servers = evidence.servers.value();
    let Some((instance, server)) =
        servers.and_then(|servers| servers.iter().find(|(name, _)| sender.servers().contains(name.as_str())))
    else {
        return Fix::here(format!("Let mail leave from {other}.")).verify(sender.verify(None));
    };
    let bound = server.egress.sources.iter().find(|source| source.value == sender.address);
    let text = match bound {
        Some(_) => format!("Let {instance} send from {other}, which names are prepared for, in place of {at}."),
        None => format!(
            "Bind what {instance} sends to {other}, which names are prepared for; the kernel takes {at} by its routes."
        ),
    };
    let verify = format!(
        "mxray routes {} --from {other}",
        published::sent_from(evidence, sender)
            .first()
            .map_or_else(|| "DESTINATION".to_owned(), |(_, answer)| answer.destination.to_string())
    );
    let words = Words::new(evidence, server);
    if server.software == "postfix" {
        let parameter = if spare.address.is_ipv4() { "smtp_bind_address" } else { "smtp_bind_address6" };
        let mut fix = words.setting_fix(&text, parameter, other).command(words.reload());
        fix.verify = verify;
        return fix;
    }
    let line_text = match server.software.as_str() {
        "exim" => format!("interface = {other}"),
        "opensmtpd" => format!("action … relay src {other}"),
        "sendmail" => format!("CLIENT_OPTIONS(`Addr={other}')"),
        _ => other.to_owned(),
    };
    let (file, line) = match bound.and_then(|source| source.at.as_ref()) {
        Some(at) => (at.file.clone(), Some(at.line)),
        None => (words.main_cf(), None),
    };
    Fix::here(text).config(file, line, line_text).command(words.reload()).verify(verify)
}

/// By which route the kernel comes to this address, in words and where that stands.
pub fn route_reason(evidence: &Evidence, sender: &Sender<'_>) -> Option<(String, String)> {
    use mxray_model::evidence::RouteOutcome;
    let (key, answer) = published::sent_from(evidence, sender).into_iter().next()?;
    let Some(RouteOutcome::Sent(taken)) = answer.outcome.value() else { return None };
    let matched = taken
        .matched
        .as_ref()
        .map_or(String::new(), |matched| format!(", by the route {matched} of table {}", taken.table));
    let text =
        format!("To {} the kernel sends from {} on {}{matched}.", answer.destination, sender.text, taken.interface);
    Some((text, view::pointer(["routing", "value", "answers", key])))
}

/// The configuration itself binds to this address.
pub fn is_bound(sender: &Sender<'_>) -> bool {
    sender.sender.why.iter().any(|why| matches!(why, SenderWhy::Bound { .. }))
}
