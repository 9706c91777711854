//! PORT110: a rewriting rule takes a port's traffic before the listener.

use crate::filters;
use crate::place;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{FilterAbout, FilterAnswer, FilterQuestion, Firewall, RewrittenTo, Sockets};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject};
use std::net::{IpAddr, SocketAddr};

pub const RULE: Rule = Rule {
    code: "PORT110",
    name: "port-shadowed",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a rule rewrites where packets go (DNAT, a container's published port): the listener on the port gets none",
    page: include_str!("shadowed.md"),
    check,
};

const CONFIDENCE: f32 = 0.9;

/// Where the traffic goes instead.
enum Instead {
    /// A listener of the same server, or of one that asks for that port.
    Own,
    /// Another program of this host, which may hand it on.
    Other(String),
    /// An own address at which nothing listens.
    Nobody,
    /// Another host, or a container.
    Elsewhere,
}

fn check(evidence: &Evidence) -> Said {
    let firewall = filters::firewall(evidence, &RULE)?;
    let servers = view::servers(evidence, &RULE)?;
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let mut shadowed = false;
    for (instance, server) in place::here(evidence, servers, &RULE, &mut judgement) {
        let receives = view::receives_mail(evidence, server);
        for (key, question) in filters::questions(firewall) {
            let FilterAbout::Enter { to } = question.about else { continue };
            let asks = server.wanted.values().find(|wanted| wanted.port == question.port);
            let (Some(wanted), Some(answer)) = (asks, rewritten(firewall, question)) else { continue };
            let Some(rewritten) = &answer.rewritten_to else { continue };
            let shadow = view::listeners_on(sockets, question.port).into_iter().find(|(_, l)| l.covers(to));
            let Some((listener, _)) = shadow.filter(|_| question.protocol == "tcp") else { continue };
            shadowed = true;
            let target = target(rewritten, to, question.port);
            let instead = instead(evidence, sockets, target);
            let is_user_port = !matches!(wanted.purpose, mxray_model::evidence::Purpose::Relay);
            let severity = match (&instead, receives.is_some() || is_user_port) {
                (Instead::Own, _) => {
                    judgement.well(format!("port {} is redirected to another listener of mail ({target})", question.port));
                    continue;
                }
                (Instead::Other(_), _) | (Instead::Elsewhere, false) => Severity::Notice,
                (Instead::Nobody | Instead::Elsewhere, _) => RULE.severity,
            };
            let at = (instance.as_str(), key, listener.as_str());
            judgement.find(finding(firewall, at, question, answer, rewritten, (target, &instead, severity)));
        }
    }
    if !shadowed && judgement.unseen.is_empty() {
        judgement.well("no rule takes the traffic of a mail port to somewhere else");
    }
    Ok(judgement)
}

/// What most of the question's packets come to, where they are rewritten.
fn rewritten<'a>(firewall: &'a Firewall, question: &FilterQuestion) -> Option<&'a FilterAnswer> {
    let answer = firewall.answers.get(&question.ends.first()?.answer)?;
    answer.rewritten_to.is_some().then_some(answer)
}

fn target(rewritten: &RewrittenTo, to: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(rewritten.address.unwrap_or(to), rewritten.port.unwrap_or(port))
}

fn instead(evidence: &Evidence, sockets: &Sockets, target: SocketAddr) -> Instead {
    let own = target.ip().is_loopback()
        || matches!(&evidence.addresses, Seen::Value(own) if own.contains(&target.ip()));
    if !own {
        return Instead::Elsewhere;
    }
    let found = view::listeners_on(sockets, target.port()).into_iter().find(|(_, l)| l.covers(target.ip()));
    match found {
        Some(_) if view::service_on(evidence, target.port()).is_some() => Instead::Own,
        Some((key, listener)) => {
            let owner = listener.owners.value().and_then(|owners| owners.first());
            Instead::Other(owner.map_or_else(|| key.clone(), |owner| owner.name.clone()))
        }
        None => Instead::Nobody,
    }
}

fn finding(
    firewall: &Firewall,
    (instance, key, listener): (&str, &String, &str),
    question: &FilterQuestion,
    answer: &FilterAnswer,
    rewritten: &RewrittenTo,
    (target, instead, severity): (SocketAddr, &Instead, Severity),
) -> Finding {
    let port = question.port;
    let rule = &rewritten.by;
    let manager = rule.manager.as_deref().or_else(|| firewall.tables.get(&rule.table)?.manager.as_deref());
    let where_to = match instead {
        Instead::Own | Instead::Elsewhere => format!("to {target}"),
        Instead::Other(name) => format!("to {target}, where {name} listens"),
        Instead::Nobody => format!("to {target}, where nothing listens"),
    };
    let by = manager.map_or_else(String::new, |manager| format!(", which {manager} wrote,"));
    let summary = format!(
        "{instance} listens on port {port} and gets no connection from outside: a rule{by} takes them {where_to}, before any listener is looked for."
    );
    let finding = RULE
        .finding_as(severity, view::port_scope(port), summary)
        .confidence(CONFIDENCE)
        .touches(view::service_at(instance, port))
        .touches(Subject::service(instance))
        .because(
            format!("Rule {} of chain {} of {}: {}.", rule.position, rule.chain, rule.table, rule.text),
            "nf_tables",
            view::pointer(["firewall", "value", "answers", &answer_key(question)]),
        )
        .because("This socket waits for what never comes.", "sock_diag", view::listener_pointer(listener))
        .because(
            format!("Packets from {} end so.", answer.packet.source),
            "nf_tables",
            view::pointer(["firewall", "value", "questions", key]),
        )
        .data("port", port)
        .data("to", target.to_string())
        .data("table", rule.table.clone())
        .data("chain", rule.chain.clone())
        .data("rule", rule.text.clone())
        .data("handle", rule.handle)
        .data("manager", manager)
        .reference("nft(8), \"NAT STATEMENTS\"");
    finding.fix(fix(rewritten, manager, port, answer.packet.source.is_ipv4())).fix(
        Fix::here("Or, where the other one is meant to serve the port, have this server leave it: one of the two is too many.")
            .verify(filters::explain_in(port, &question.protocol, question.ipv4)),
    )
}

fn answer_key(question: &FilterQuestion) -> String {
    question.ends.first().map(|end| end.answer.clone()).unwrap_or_default()
}

/// The rule is taken away where it was made.
fn fix(rewritten: &RewrittenTo, manager: Option<&str>, port: u16, ipv4: bool) -> Fix {
    let rule = &rewritten.by;
    let verify = filters::explain_in(port, "tcp", ipv4);
    let mut parts = rule.table.split(' ');
    let (framework, family, name) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let chain = mxray_model::text::shell_word(&rule.chain);
    match manager {
        Some("docker") => Fix::here(
            "A container publishes the port: take `ports:` (compose) or `-p` out of it, or publish it on another port or address.",
        )
        .command(format!("docker ps --filter publish={port}"))
        .undo("publish the port again")
        .verify(verify),
        Some("firewalld") => Fix::here("firewalld forwards the port: take the forwarding away.")
            .command("firewall-cmd --list-forward-ports")
            .command(format!("firewall-cmd --remove-forward-port=port={port}:proto=tcp:toport=PORT:toaddr=ADDRESS"))
            .undo("firewall-cmd --add-forward-port=… with the same words")
            .verify(verify),
        Some("iptables-nft" | "ufw" | "libvirt" | "kube-proxy") => xtables(rewritten, framework, name, verify),
        _ if framework == "legacy" || rule.text.starts_with('-') => xtables(rewritten, framework, name, verify),
        _ => Fix::here("Take the rule away.")
            .command(format!(
                "nft delete rule {family} {name} {chain} handle {}",
                rule.handle.unwrap_or_default()
            ))
            .undo(format!("nft add rule {family} {name} {chain} '{}'", rule.text))
            .verify(verify),
    }
}

fn xtables(rewritten: &RewrittenTo, framework: &str, table: &str, verify: String) -> Fix {
    let rule = &rewritten.by;
    let v6 = rule.table.split(' ').nth(1) == Some("ip6");
    let program = match (framework == "legacy", v6) {
        (false, false) => "iptables",
        (false, true) => "ip6tables",
        (true, false) => "iptables-legacy",
        (true, true) => "ip6tables-legacy",
    };
    let (table, chain) = (mxray_model::text::shell_word(table), mxray_model::text::shell_word(&rule.chain));
    let position = rule.position;
    Fix::here("Take the rule away; the first command shows it as it can be put back.")
        .command(format!("{program} -t {table} -S {chain} {position}"))
        .command(format!("{program} -t {table} -D {chain} {position}"))
        .undo(format!("{program} -t {table} -I {chain} {position} with what the first command showed"))
        .verify(verify)
}
