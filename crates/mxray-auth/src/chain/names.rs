//! Names: is one of the certificate's the one that was asked for (RFC 9525), and may its authorities sign for it (RFC 5280
//! section 4.2.1.10)?
//!
//! Only the subjectAltName counts. A common name is no name of a server (RFC 9525 section 2).

use super::{Link, TOLD_NAMES_MAX};
use crate::certificate;
use mxray_model::evidence::CertificateProblem;
use mxray_model::text::untrusted;
use std::net::IpAddr;
use x509_parser::extensions::{GeneralName, GeneralSubtree, ParsedExtension};

/// The subjectAltName's entries. `None`: it is there and cannot be read.
fn entries<'a>(link: &'a Link<'_>) -> Option<&'a [GeneralName<'a>]> {
    match link.parsed.subject_alternative_name() {
        Ok(Some(extension)) => Some(&extension.value.general_names),
        Ok(None) => {
            let strange = |extension: &x509_parser::extensions::X509Extension<'_>| {
                extension.oid.to_id_string() == "2.5.29.17"
                    && matches!(extension.parsed_extension(), ParsedExtension::ParseError { .. })
            };
            if link.parsed.iter_extensions().any(strange) { None } else { Some(&[]) }
        }
        Err(_) => None,
    }
}

/// The problem, where none of the names is the one that was asked for.
pub(super) fn mismatch(leaf: &Link<'_>, reference: &str) -> Option<CertificateProblem> {
    let Some(entries) = entries(leaf) else {
        let error = "its subjectAltName cannot be read".to_owned();
        return Some(CertificateProblem::Unreadable { at: 0, error });
    };
    let wanted = reference.strip_suffix('.').unwrap_or(reference);
    let fits = match wanted.parse::<IpAddr>() {
        Ok(address) => entries.iter().any(|entry| is_address(entry, address)),
        // Names that are not ASCII travel in another form (RFC 5890 section 2.3.2.1), which is not made here.
        Err(_) if !wanted.is_ascii() => return None,
        Err(_) => entries.iter().any(|entry| is_name(entry, wanted)),
    };
    if fits {
        return None;
    }
    let names = entries.iter().filter_map(|entry| match entry {
        GeneralName::DNSName(name) => Some(untrusted(name.as_bytes())),
        GeneralName::IPAddress(bytes) => certificate::address(bytes),
        _ => None,
    });
    Some(CertificateProblem::NameMismatch { wanted: reference.to_owned(), names: names.take(TOLD_NAMES_MAX).collect() })
}

fn is_address(entry: &GeneralName<'_>, wanted: IpAddr) -> bool {
    let GeneralName::IPAddress(bytes) = entry else { return false };
    match wanted {
        IpAddr::V4(address) => **bytes == address.octets(),
        IpAddr::V6(address) => **bytes == address.octets(),
    }
}

fn is_name(entry: &GeneralName<'_>, wanted: &str) -> bool {
    // A name that ends in a dot is none in a certificate (RFC 5280 section 4.2.1.6, RFC 1034 section 3.5): nobody takes it.
    matches!(entry, GeneralName::DNSName(name) if fits(name, wanted))
}

/// RFC 9525 section 6.3: the wildcard is the whole left-most label, and stands for exactly one.
fn fits(pattern: &str, wanted: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(wanted),
        Some(rest) => wanted.split_once('.').is_some_and(|(label, domain)| {
            !label.is_empty() && !rest.contains('*') && rest.eq_ignore_ascii_case(domain)
        }),
    }
}

/// A name of the server that this authority may not sign for.
pub(super) fn not_allowed(authority: &Link<'_>, leaf: &Link<'_>) -> Option<String> {
    let Ok(Some(constraints)) = authority.parsed.name_constraints() else { return None };
    let (permitted, excluded) = (&constraints.value.permitted_subtrees, &constraints.value.excluded_subtrees);
    let refused = |entry: &&GeneralName<'_>| {
        let within = |trees: &[GeneralSubtree<'_>]| trees.iter().any(|tree| is_within(entry, &tree.base) == Some(true));
        // A tree of another kind of name restricts nothing of this kind.
        let of_kind = |trees: &[GeneralSubtree<'_>]| trees.iter().any(|tree| is_within(entry, &tree.base).is_some());
        excluded.as_deref().is_some_and(within)
            || permitted.as_deref().is_some_and(|trees| of_kind(trees) && !within(trees))
    };
    entries(leaf)?.iter().find(refused).and_then(|entry| match entry {
        GeneralName::DNSName(name) => Some(untrusted(name.as_bytes())),
        GeneralName::IPAddress(bytes) => certificate::address(bytes),
        _ => None,
    })
}

/// `None`: names of two kinds.
fn is_within(entry: &GeneralName<'_>, tree: &GeneralName<'_>) -> Option<bool> {
    match (entry, tree) {
        (GeneralName::DNSName(name), GeneralName::DNSName(domain)) => {
            let (name, domain) = (name.to_ascii_lowercase(), domain.to_ascii_lowercase());
            let domain = domain.strip_prefix('.').unwrap_or(&domain);
            let below = name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            Some(domain.is_empty() || below)
        }
        // Address and mask, one behind the other.
        (GeneralName::IPAddress(address), GeneralName::IPAddress(tree)) if tree.len() == 2 * address.len() => {
            let (net, mask) = tree.split_at(address.len());
            Some(address.iter().zip(net).zip(mask).all(|((own, net), mask)| own & mask == net & mask))
        }
        (GeneralName::IPAddress(_), GeneralName::IPAddress(_)) => Some(false),
        _ => None,
    }
}
