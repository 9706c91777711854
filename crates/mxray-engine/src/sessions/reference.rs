//! The name that an own certificate is compared with, settled afterwards.
//!
//! A server's own name is the one that other servers meet; users may have been told another one that leads here as well
//! (`imap.example.org`), and behind a balancer only that other name stands in the certificate. A name is therefore called
//! wrong only where none of the names in the certificate can be the one that is meant.

use mxray_model::Seen;
use mxray_model::evidence::{CertificateProblem, ExaminedAddress, ExaminedEndpoint};
use std::net::IpAddr;

/// Names of one certificate that are asked for. Certificates of hosting platforms carry a hundred.
pub(super) const NAMES_MAX: usize = 8;

/// The names in the certificates of an endpoint that is not met by any of them.
pub(super) fn names_in_question(endpoint: &ExaminedEndpoint) -> Vec<String> {
    let tls = endpoint.addresses.values().filter_map(|examined| examined.tls.value());
    let names = tls.flat_map(|tls| &tls.problems).filter_map(|problem| match problem {
        CertificateProblem::NameMismatch { names, .. } => Some(names),
        _ => None,
    });
    let mut all: Vec<String> = names.flatten().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect();
    all.sort();
    all.dedup();
    all
}

/// What the names of a certificate say about the name it ought to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    /// This one leads here: it is what clients use.
    This(String),
    /// One of them may be, and nobody here can tell.
    Perhaps,
    /// None can be: none of them exists.
    None,
}

/// Where the names lead: by name, in the order of the certificate. Those that were not asked for count as unknown.
pub(super) fn meant(names: &[String], leads_to: impl Fn(&str) -> Seen<Vec<IpAddr>>, own: &[IpAddr]) -> Meant {
    let mut perhaps = names.len() > NAMES_MAX;
    for name in names.iter().take(NAMES_MAX) {
        // What no client can be told: a name without a domain, as installers put into certificates.
        if !name.contains('.') || name.parse::<IpAddr>().is_ok() {
            continue;
        }
        if name.starts_with("*.") {
            perhaps = true;
            continue;
        }
        match leads_to(name) {
            Seen::Value(addresses) if addresses.iter().any(|address| own.contains(address)) => {
                return Meant::This(name.clone());
            }
            Seen::Value(_) | Seen::Unknown(_) => perhaps = true,
            Seen::Absent => {}
        }
    }
    if perhaps { Meant::Perhaps } else { Meant::None }
}

/// Takes back what the comparison with the wrong name said.
pub(super) fn settle(endpoint: &mut ExaminedEndpoint, meant: &Meant) {
    let name = match meant {
        Meant::None => return,
        Meant::This(name) => Some(name.clone()),
        Meant::Perhaps => None,
    };
    let mismatch = |problem: &CertificateProblem| matches!(problem, CertificateProblem::NameMismatch { .. });
    for ExaminedAddress { tls, starttls, .. } in endpoint.addresses.values_mut() {
        let Seen::Value(tls) = tls else { continue };
        if !tls.problems.iter().any(mismatch) {
            continue;
        }
        tls.problems.retain(|problem| !mismatch(problem));
        tls.reference_name = name.clone();
        if tls.problems.is_empty() && starttls.validates == Seen::Value(false) {
            starttls.validates = Seen::Value(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(name: &str) -> Seen<Vec<IpAddr>> {
        match name {
            "imap.example.org" => Seen::Value(vec!["192.0.2.25".parse().unwrap()]),
            "balancer.example.org" => Seen::Value(vec!["192.0.2.99".parse().unwrap()]),
            "unheard.example.org" => Seen::not_attempted("nobody answered"),
            _ => Seen::Absent,
        }
    }

    #[test]
    fn a_name_is_wrong_only_where_none_can_be_meant() {
        let own = ["192.0.2.25".parse().unwrap()];
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            meant(&names, leads, &own)
        };
        assert_eq!(of(&["gone.example.org", "imap.example.org"]), Meant::This("imap.example.org".to_owned()));
        for perhaps in ["balancer.example.org", "unheard.example.org", "*.example.org"] {
            assert_eq!(of(&["gone.example.org", perhaps]), Meant::Perhaps, "{perhaps}");
        }
        assert_eq!(of(&["gone.example.org", "localhost", "192.0.2.25"]), Meant::None);
        assert_eq!(of(&[]), Meant::None);
        let many: Vec<String> = (0..20).map(|number| format!("gone{number}.example.org")).collect();
        assert_eq!(meant(&many, leads, &own), Meant::Perhaps);
    }
}
