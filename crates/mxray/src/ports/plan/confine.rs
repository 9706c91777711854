//! What beside the kernel's own rules speaks against a service's sockets: lines of its unit, and security modules. Pure.

use super::decide::{Reason, Weight};
use super::filter::peers;
use super::wish::{Confinement, Wish, stem};
use mxray_host::security::Profile;
use mxray_host::units::network::{AddressRules, BindRules, Ruled};
use mxray_model::Seen;
use mxray_model::binding::Binding;
use mxray_model::evidence::Exposure;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The reasons that follow.
pub fn judge(confinement: &Confinement, wish: &Wish, sockets: &[Binding], reasons: &mut Vec<Reason>) {
    let of_family = |ipv6: bool| sockets.iter().any(|socket| is_six(socket) == ipv6);
    match confinement {
        Confinement::Unread(blind) => {
            let text = format!("what its unit leaves of its sockets is not known: {}", blind.why());
            reasons.push(Reason::new("unit", Weight::Hides, text).remedy(blind.needs()));
        }
        Confinement::OwnNetwork(line) => {
            let text =
                format!("{}: the service has a network of its own, and nobody reaches what it opens there", line.text);
            let reason = Reason::new("own_network", Weight::Refuses, text);
            reasons.push(reason.remedy("the line removed, or a socket unit").at(&line.at));
        }
        Confinement::NoFamily { ipv6, line } if of_family(*ipv6) => {
            let family = if *ipv6 { "AF_INET6" } else { "AF_INET" };
            let text = format!("{}: socket(2) gives EAFNOSUPPORT, as {family} is not among them", line.text);
            let reason = Reason::new("family", Weight::Refuses, text);
            reasons.push(reason.remedy(format!("{family} added to the line")).at(&line.at));
        }
        Confinement::NoFamily { .. } => {}
        Confinement::Bind(rules) => bind(rules, sockets, reasons),
        Confinement::Addresses(rules) => addresses(rules, wish, sockets, reasons),
        Confinement::SeLinux(enforced) => selinux(enforced, wish, reasons),
        Confinement::AppArmor(profile) => apparmor(profile, wish, sockets, reasons),
    }
}

/// The family of the socket itself: a mapped address is bound by one of IPv6.
fn is_six(socket: &Binding) -> bool {
    socket.address.is_ipv6()
}

fn bind(rules: &BindRules, sockets: &[Binding], reasons: &mut Vec<Reason>) {
    for socket in sockets {
        let (protocol, port) = (&socket.protocol, socket.port);
        match rules.ask(is_six(socket), protocol, port) {
            Ruled::Free => {}
            Ruled::Denied(line) => {
                let text = format!("{}: bind(2) of port {port}/{protocol} gives EPERM", line.text);
                let reason = Reason::new("bind_rules", Weight::Refuses, text).at(&line.at);
                reasons.push(reason.remedy(format!("SocketBindAllow={protocol}:{port} beside the line")));
            }
            Ruled::Unknown(line) => {
                let text = format!("{}: whether systemd refuses port {port}/{protocol} is not known", line.text);
                reasons.push(Reason::new("bind_rules", Weight::Hides, text).at(&line.at));
            }
        }
    }
}

/// The rules are for packets: the service starts, and whoever may not talk with it is not answered.
fn addresses(rules: &AddressRules, wish: &Wish, sockets: &[Binding], reasons: &mut Vec<Reason>) {
    if rules.is_empty() {
        return;
    }
    let reached = match &wish.exposure {
        Exposure::Loopback => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
        wider => peers(wider),
    };
    let families: BTreeSet<bool> =
        sockets.iter().flat_map(|socket| [is_six(socket), is_six(socket) && !socket.v6_only]).collect();
    let asked: Vec<IpAddr> = reached.into_iter().filter(|peer| families.contains(&peer.is_ipv6())).collect();
    let ruled: Vec<(IpAddr, Ruled<'_>)> = asked.iter().map(|peer| (*peer, rules.ask(*peer))).collect();
    let denied: Vec<_> = ruled.iter().filter(|(_, ruled)| matches!(ruled, Ruled::Denied(_))).collect();
    let (peer, line) = match (denied.first(), ruled.iter().find(|(_, ruled)| matches!(ruled, Ruled::Unknown(_)))) {
        (Some((peer, Ruled::Denied(line))), _) => (peer, line),
        (_, Some((peer, Ruled::Unknown(line)))) => {
            let text = format!("{}: whether packets of {peer} reach the service is not known", line.text);
            return reasons.push(Reason::new("ip_rules", Weight::Hides, text).at(&line.at));
        }
        _ => return,
    };
    let weight = if denied.len() == ruled.len() { Weight::Refuses } else { Weight::Risk };
    let text = format!("{}: packets of {peer} and the like are dropped before the service", line.text);
    reasons.push(
        Reason::new("ip_rules", weight, text).at(&line.at).remedy("IPAddressAllow= of those who are to reach it"),
    );
}

/// Ports that the reference policy gives to mail software (policy/modules/kernel/corenetwork.te.in and the services' own).
fn policy_has(service: &str, port: u16) -> bool {
    const SMTP: [u16; 3] = [25, 465, 587];
    match service {
        "postfix" | "exim" | "exim4" | "sendmail" => SMTP.contains(&port),
        "dovecot" => [24, 110, 143, 993, 995, 4190].contains(&port) || SMTP.contains(&port),
        "spamassassin" | "spamd" => port == 783,
        "clamd" | "clamav-daemon" => port == 3310,
        "amavis" | "amavisd" => port == 10_024,
        _ => false,
    }
}

fn selinux(enforced: &Seen<()>, wish: &Wish, reasons: &mut Vec<Reason>) {
    let why = match enforced {
        Seen::Value(()) => "its policy gives each confined service the ports of certain types".to_owned(),
        Seen::Absent => return,
        Seen::Unknown(blind) => format!("whether it enforces its policy is not known: {}", blind.why()),
    };
    let unit = wish.starter.unit.as_deref().unwrap_or(&wish.service);
    let name = stem(unit).split('@').next().unwrap_or(unit).to_ascii_lowercase();
    if policy_has(&name, wish.port) {
        return;
    }
    let (port, protocol) = (wish.port, &wish.protocol);
    let text = format!("SELinux: {why}; whether it lets this one bind {port}/{protocol} (name_bind) is not worked out");
    let remedy = format!(
        "`semanage port -l | grep -w {port}` shows the port's type; `semanage port -a -t TYPE -p {protocol} {port}` gives it the service's"
    );
    reasons.push(Reason::new("selinux", Weight::Hides, text).remedy(remedy));
}

fn apparmor(profile: &Seen<Profile>, wish: &Wish, sockets: &[Binding], reasons: &mut Vec<Reason>) {
    let profile = match profile {
        Seen::Value(profile) => profile,
        Seen::Absent => return,
        Seen::Unknown(blind) => {
            let text = format!("whether AppArmor lets it have the port is not known: {}", blind.why());
            return reasons.push(Reason::new("apparmor", Weight::Hides, text).remedy(blind.needs()));
        }
    };
    let mut lacks = Vec::new();
    for (has, ipv6, rule) in [(profile.ipv4, false, "network inet"), (profile.ipv6, true, "network inet6")] {
        if !has && sockets.iter().any(|socket| is_six(socket) == ipv6) {
            lacks.push(rule);
        }
    }
    if wish.port < 1024 && !profile.low_ports {
        lacks.push("capability net_bind_service");
    }
    if lacks.is_empty() {
        return;
    }
    let text = format!(
        "AppArmor enforces the profile {}, in which no rule `{}` was found; what it includes was not followed",
        profile.name,
        lacks.join("`, `")
    );
    let remedy =
        "such a rule in the profile's file below /etc/apparmor.d/local, where there is none in what it includes";
    reasons.push(Reason::new("apparmor", Weight::Hides, text).at(&profile.at).remedy(remedy));
}

#[cfg(test)]
mod tests {
    use super::super::wish::{LowPorts, Starter};
    use super::*;
    use mxray_host::units::network::{NetworkLimits, merge};
    use mxray_model::evidence::{FileLine, V6Policy};

    fn wish(port: u16, exposure: Exposure, unit: Option<&str>) -> Wish {
        let low_ports = LowPorts::May { because: String::new() };
        let unit = unit.map(str::to_owned);
        let starter =
            Starter { uid: 0, user: "root".to_owned(), assumed: unit.is_none(), unit, low_ports, confined: Vec::new() };
        let (addresses, v6, reuse_port) = (Vec::new(), V6Policy::Any, false);
        Wish { service: "x".to_owned(), protocol: "tcp".to_owned(), port, addresses, v6, reuse_port, starter, exposure }
    }

    fn judged(confinement: &Confinement, wish: &Wish) -> Vec<(&'static str, Weight)> {
        let mut reasons = Vec::new();
        judge(confinement, wish, &wish.sockets(true, false), &mut reasons);
        reasons.iter().map(|reason| (reason.code, reason.weight)).collect()
    }

    fn of_unit(lines: &str) -> NetworkLimits {
        merge(&[("/x.service".to_owned(), format!("[Service]\n{lines}").into_bytes())])
    }

    #[test]
    fn what_systemd_refuses_to_bind_is_refused() {
        let bind = |lines: &str| Confinement::Bind(of_unit(lines).bind);
        let public = |port| wish(port, Exposure::Public, Some("x.service"));
        let some = bind("SocketBindDeny=any\nSocketBindAllow=tcp:25\n");
        assert_eq!(judged(&some, &public(25)), []);
        let refused = ("bind_rules", Weight::Refuses);
        assert_eq!(judged(&some, &public(587)), [refused, refused], "one for each family's socket");
        assert_eq!(judged(&bind("SocketBindDeny=ipv6:tcp\n"), &public(25)), [refused]);
        assert_eq!(judged(&bind("SocketBindDeny=tcp:%i\n"), &public(25)).first(), Some(&("bind_rules", Weight::Hides)));
    }

    #[test]
    fn whose_packets_are_dropped_does_not_reach_the_service() {
        let rules =
            Confinement::Addresses(of_unit("IPAddressDeny=any\nIPAddressAllow=localhost 10.0.0.0/8\n").addresses);
        let asked = |exposure| judged(&rules, &wish(25, exposure, Some("x.service")));
        assert_eq!(asked(Exposure::Public), [("ip_rules", Weight::Refuses)]);
        assert_eq!(asked(Exposure::Loopback), []);
        assert_eq!(asked(Exposure::Prefixes(vec!["10.1.0.0/16".to_owned()])), []);
        let both = vec!["10.1.0.0/16".to_owned(), "192.168.0.0/16".to_owned()];
        assert_eq!(asked(Exposure::Prefixes(both)), [("ip_rules", Weight::Risk)]);
    }

    #[test]
    fn a_policy_that_is_not_worked_out_hides_the_answer() {
        let enforced = Confinement::SeLinux(Seen::Value(()));
        assert_eq!(
            judged(&enforced, &wish(2525, Exposure::Public, Some("postfix@-.service"))),
            [("selinux", Weight::Hides)]
        );
        assert_eq!(judged(&enforced, &wish(587, Exposure::Public, Some("postfix@-.service"))), []);
        assert_eq!(judged(&Confinement::SeLinux(Seen::Absent), &wish(2525, Exposure::Public, None)), []);
    }

    #[test]
    fn a_profile_without_the_rules_hides_it_too() {
        let at = FileLine { file: "/etc/apparmor.d/x".to_owned(), line: 1 };
        let profile = Profile { name: "x".to_owned(), at, ipv4: true, ipv6: true, low_ports: false };
        let enforced = Confinement::AppArmor(Seen::Value(profile.clone()));
        assert_eq!(judged(&enforced, &wish(2525, Exposure::Public, None)), []);
        assert_eq!(judged(&enforced, &wish(25, Exposure::Public, None)), [("apparmor", Weight::Hides)]);
        let without = Confinement::AppArmor(Seen::Value(Profile { ipv6: false, ..profile }));
        assert_eq!(judged(&without, &wish(2525, Exposure::Public, None)), [("apparmor", Weight::Hides)]);
    }
}
