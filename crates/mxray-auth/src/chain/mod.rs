//! A chain as a server presents it: what each certificate says, everything that is wrong, and which stores believe it.
//!
//! Certificates may come in any order and with others that do not belong (RFC 8446 section 4.4.2): every way from the
//! server's own up to a root is walked, and the best one is judged. Start reading at [`chain`]; `path` finds the ways, `names`
//! compares names. What must not live here: whether a problem matters, which is a question of port and policy (rules).

mod names;
mod path;
#[cfg(test)]
mod tests;

use crate::certificate;
use crate::public::Public;
use crate::signature::{self, Signature};
use crate::trust::{Anchors, canonical};
use data_encoding::HEXLOWER;
use mxray_model::evidence::{CertificateProblem, PresentedCertificate, RootStore};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use path::{End, Path, Paths};
use ring::digest::{SHA256, digest};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

/// Most certificates of one chain that are looked at; long chains have five.
const CERTIFICATES_MAX: usize = 32;
/// Most addresses of issuers' certificates that are kept.
const URLS_MAX: usize = 4;
/// Most names that are told of a certificate that has none of ours.
const TOLD_NAMES_MAX: usize = 20;
/// RFC 9325 section 4.5.
const RSA_BITS_MIN: u32 = 2048;
const EC_BITS_MIN: u32 = 224;

/// The stores that a chain is held against. Unknown: one could not be read, and trusts nobody and mistrusts nobody.
pub type Stores = BTreeMap<RootStore, Seen<Anchors>>;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// As presented.
    pub chain: Vec<PresentedCertificate>,
    /// Worst first.
    pub problems: Vec<CertificateProblem>,
    pub trusted: BTreeMap<RootStore, Seen<bool>>,
}

/// One certificate and nothing behind it. The parser takes an outer tag that no DER has (X.690 section 8.9.1), which peers refuse.
fn certificate(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    const SEQUENCE: u8 = 0x30;
    if der.first() != Some(&SEQUENCE) {
        return Err("it does not begin as a certificate does".to_owned());
    }
    match X509Certificate::from_der(der) {
        Ok((_, parsed)) => Ok(parsed),
        Err(error) => Err(untrusted(error.to_string().as_bytes())),
    }
}

/// A certificate that could be read.
pub(crate) struct Link<'a> {
    /// Its place in the chain.
    at: usize,
    parsed: X509Certificate<'a>,
    public: Public,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    by_itself: OnceCell<Signature>,
}

impl Link<'_> {
    fn place(&self) -> u32 {
        u32::try_from(self.at).unwrap_or(u32::MAX)
    }

    /// Signed with its own key, as far as names tell.
    fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether its own key signed it; calculated once, when somebody asks.
    fn by_itself(&self) -> Signature {
        *self.by_itself.get_or_init(|| path::signed_by(self, &self.public))
    }
}

/// Examines a chain: `ders` as presented, the server's own first; `reference` is the name or address that it has to carry.
pub fn chain(ders: &[Vec<u8>], reference: Option<&str>, stores: &Stores, now_s: i64) -> Examined {
    let mut links = Vec::new();
    let mut problems = Vec::new();
    let mut presented = Vec::new();
    for (at, der) in ders.iter().take(CERTIFICATES_MAX).enumerate() {
        match certificate(der) {
            Ok(parsed) => {
                let link = link(at, parsed);
                presented.push(told(der, &link));
                links.push(link);
            }
            Err(error) => {
                presented.push(unreadable(der, at, &error));
                problems.push(CertificateProblem::Unreadable { at: u32::try_from(at).unwrap_or(u32::MAX), error });
            }
        }
    }
    if ders.len() > CERTIFICATES_MAX {
        let error = format!("the server presents {} certificates; no more were looked at", ders.len());
        problems.push(CertificateProblem::Unreadable { at: CERTIFICATES_MAX as u32, error });
    }
    let trusted = match links.first() {
        Some(leaf) if leaf.at == 0 => judge(&links, reference, stores, now_s, &mut problems),
        _ => {
            let blind = Blind::NotUnderstood {
                what: "the server's certificate".to_owned(),
                text: "there is none that can be read".to_owned(),
            };
            stores.keys().map(|store| (*store, Seen::Unknown(blind.clone()))).collect()
        }
    };
    problems.sort_by_key(|problem| (rank(problem), problem.clone()));
    problems.dedup();
    Examined { chain: presented, problems, trusted }
}

fn link(at: usize, parsed: X509Certificate<'_>) -> Link<'_> {
    let public = certificate::public(parsed.public_key());
    let (subject, issuer) = (canonical(parsed.subject()), canonical(parsed.issuer()));
    Link { at, parsed, public, subject, issuer, by_itself: OnceCell::new() }
}

fn told(der: &[u8], link: &Link<'_>) -> PresentedCertificate {
    let (certificate, _) = certificate::told(&link.parsed);
    PresentedCertificate {
        certificate: Seen::Value(certificate),
        sha256: HEXLOWER.encode(digest(&SHA256, der).as_ref()),
        signed_with: signature::name(&link.parsed.signature_algorithm),
        self_signed: link.is_self_issued() && link.by_itself() == Signature::Good,
        is_ca: link.parsed.is_ca(),
        extended_usage: usages(link),
        serial: HEXLOWER.encode(link.parsed.raw_serial()),
        issuer_urls: issuer_urls(link),
        der: der.to_vec(),
    }
}

fn unreadable(der: &[u8], at: usize, error: &str) -> PresentedCertificate {
    let what = format!("certificate {} of the chain", at + 1);
    PresentedCertificate {
        certificate: Seen::Unknown(Blind::NotUnderstood { what, text: error.to_owned() }),
        sha256: HEXLOWER.encode(digest(&SHA256, der).as_ref()),
        signed_with: String::new(),
        self_signed: false,
        is_ca: false,
        extended_usage: Vec::new(),
        serial: String::new(),
        issuer_urls: Vec::new(),
        der: der.to_vec(),
    }
}

/// By name, as RFC 5280 section 4.2.1.12 calls them; empty: not restricted.
fn usages(link: &Link<'_>) -> Vec<String> {
    let Ok(Some(extension)) = link.parsed.extended_key_usage() else { return Vec::new() };
    let usage = extension.value;
    let known = [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let named = known.into_iter().filter(|(is, _)| *is).map(|(_, name)| name.to_owned());
    named.chain(usage.other.iter().map(|oid| untrusted(oid.to_id_string().as_bytes()))).take(TOLD_NAMES_MAX).collect()
}

fn issuer_urls(link: &Link<'_>) -> Vec<String> {
    let access = link.parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => Some(access),
        _ => None,
    });
    let all = access.into_iter().flat_map(|access| access.accessdescs.iter());
    let issuers = all.filter(|entry| entry.access_method.to_id_string() == "1.3.6.1.5.5.7.48.2");
    let urls = issuers.filter_map(|entry| match entry.access_location {
        GeneralName::URI(url) => Some(untrusted(url.as_bytes())),
        _ => None,
    });
    urls.take(URLS_MAX).collect()
}

/// Everything that is wrong with the best way to a root, and who trusts any of them.
fn judge(
    links: &[Link<'_>],
    reference: Option<&str>,
    stores: &Stores,
    now_s: i64,
    problems: &mut Vec<CertificateProblem>,
) -> BTreeMap<RootStore, Seen<bool>> {
    let mut paths = Paths::walk(links, stores);
    let trusted = trust(links, &paths, stores);
    let best = paths.all.iter().min_by_key(|path| path.cost(on_path(links, path, now_s).len()));
    if let Some(best) = best {
        problems.extend(on_path(links, best, now_s));
        problems.extend(at_end(links, best, stores));
    }
    if let Some(leaf) = links.first() {
        problems.extend(of_server(leaf, best.is_some_and(|path| path.end == End::SelfSigned)));
        problems.extend(reference.and_then(|reference| names::mismatch(leaf, reference)));
    }
    if paths.is_disordered(links) {
        problems.push(CertificateProblem::Disordered);
    }
    trusted
}

/// A store trusts a chain when any way ends at one of its roots, every signature on it is good, and every authority on it is
/// one.
fn trust(links: &[Link<'_>], paths: &Paths, stores: &Stores) -> BTreeMap<RootStore, Seen<bool>> {
    let mut out = BTreeMap::new();
    for (store, anchors) in stores {
        let ends_here = |path: &&Path| matches!(&path.end, End::Anchor(at) if at.contains(store));
        let sound: Vec<&Path> =
            paths.all.iter().filter(ends_here).filter(|path| unsound(links, path).is_empty()).collect();
        let verdict = match anchors {
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
            _ if sound.iter().any(|path| path.proven) => Seen::Value(true),
            _ if !sound.is_empty() || paths.gave_up => Seen::Unknown(Blind::NotUnderstood {
                what: "the signatures of the chain".to_owned(),
                text: "made in a way that mxray cannot calculate".to_owned(),
            }),
            Seen::Value(_) | Seen::Absent => Seen::Value(false),
        };
        out.insert(*store, verdict);
    }
    out
}

/// Authorities that are none, or that go beyond what they may.
fn unsound(links: &[Link<'_>], path: &Path) -> Vec<CertificateProblem> {
    let certificates: Vec<&Link<'_>> = path.steps.iter().filter_map(|step| links.get(*step)).collect();
    let mut out = Vec::new();
    let top = certificates.len().saturating_sub(1);
    for (height, link) in certificates.iter().enumerate() {
        // What stands in a store is taken as it is.
        if !(height == top && path.top_is_anchor) {
            let unknown =
                unknown_critical(link).map(|oid| CertificateProblem::UnknownCritical { at: link.place(), oid });
            out.extend(unknown);
        }
    }
    for (height, link) in certificates.iter().enumerate().skip(1) {
        let at = link.place();
        let root = link.is_self_issued() && height + 1 == certificates.len();
        if !may_sign(link, root) {
            out.push(CertificateProblem::NotACa { at });
        }
        let between = certificates.get(1..height).unwrap_or_default();
        let below = between.iter().filter(|link| !link.is_self_issued()).count();
        if let Ok(Some(constraints)) = link.parsed.basic_constraints()
            && constraints.value.path_len_constraint.is_some_and(|most| below > most as usize)
        {
            out.push(CertificateProblem::PathTooLong { at });
        }
        if let Some(leaf) = certificates.first()
            && let Some(name) = names::not_allowed(link, leaf)
        {
            out.push(CertificateProblem::NameNotAllowed { at, name });
        }
    }
    out
}

/// Extensions that validators know what to do with, or that they may pass over: those of RFC 5280 section 4.2, of the TLS feature
/// (RFC 7633), of resources (RFC 3779), of proxies (RFC 3820), Netscape's type, and "no check" of OCSP (RFC 6960 section 4.2.2.2.1).
/// Not among them is the "poison" of certificates that are not issued yet (RFC 6962 section 3.1).
const KNOWN_EXTENSIONS: [&str; 24] = [
    "2.5.29.9",
    "2.5.29.14",
    "2.5.29.15",
    "2.5.29.16",
    "2.5.29.17",
    "2.5.29.18",
    "2.5.29.19",
    "2.5.29.30",
    "2.5.29.31",
    "2.5.29.32",
    "2.5.29.33",
    "2.5.29.35",
    "2.5.29.36",
    "2.5.29.37",
    "2.5.29.46",
    "2.5.29.54",
    "1.3.6.1.5.5.7.1.1",
    "1.3.6.1.5.5.7.1.7",
    "1.3.6.1.5.5.7.1.8",
    "1.3.6.1.5.5.7.1.11",
    "1.3.6.1.5.5.7.1.14",
    "1.3.6.1.5.5.7.1.24",
    "1.3.6.1.5.5.7.48.1.5",
    "2.16.840.1.113730.1.1",
];

/// RFC 5280 section 4.2: a certificate with a critical extension that is not known has to be refused.
fn unknown_critical(link: &Link<'_>) -> Option<String> {
    let critical = link.parsed.iter_extensions().filter(|extension| extension.critical);
    let mut oids = critical.map(|extension| extension.oid.to_id_string());
    oids.find(|oid| !KNOWN_EXTENSIONS.contains(&oid.as_str())).map(|oid| untrusted(oid.as_bytes()))
}

/// RFC 5280 sections 4.2.1.9 and 4.2.1.3. Certificates of version 1 have no extensions; old roots are such.
fn may_sign(link: &Link<'_>, root: bool) -> bool {
    let old_root = root && link.parsed.extensions().is_empty();
    let signs = match link.parsed.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        _ => true,
    };
    old_root || link.parsed.is_ca() && signs
}

/// What is wrong with the certificates of one way.
fn on_path(links: &[Link<'_>], path: &Path, now_s: i64) -> Vec<CertificateProblem> {
    let mut out = unsound(links, path);
    let certificates = path.steps.iter().filter_map(|step| links.get(*step));
    let top = path.steps.len().saturating_sub(1);
    for (height, link) in certificates.enumerate() {
        let at = link.place();
        let validity = link.parsed.validity();
        if validity.not_after.timestamp() < now_s {
            out.push(CertificateProblem::Expired { at, not_after: certificate::moment(validity.not_after) });
        }
        if validity.not_before.timestamp() > now_s {
            out.push(CertificateProblem::NotYetValid { at, not_before: certificate::moment(validity.not_before) });
        }
        let (algorithm, bits) = link.public.kind();
        let short = match &link.public {
            Public::Rsa { .. } => bits < RSA_BITS_MIN,
            Public::Ec { .. } => bits > 0 && bits < EC_BITS_MIN,
            Public::Ed25519(_) | Public::Other { .. } => false,
        };
        if short {
            out.push(CertificateProblem::WeakKey { at, algorithm, bits });
        }
        // Nobody relies on the signature of what stands in a store, or on one that only vouches for itself.
        let in_store = height == top && path.top_is_anchor;
        let relied_on = !in_store && !link.is_self_issued();
        let algorithm = signature::name(&link.parsed.signature_algorithm);
        if relied_on && signature::is_weak(&algorithm) {
            out.push(CertificateProblem::WeakSignature { at, algorithm });
        }
        let usages = usages(link);
        let serves = |usage: &String| matches!(usage.as_str(), "serverAuth" | "anyExtendedKeyUsage" | GATED_CRYPTO);
        if !in_store && !usages.is_empty() && !usages.iter().any(serves) {
            out.push(CertificateProblem::WrongUsage { usages });
        }
    }
    out
}

/// Server Gated Crypto: authorities of the nineties say it where others say serverAuth, and everybody takes it for that.
const GATED_CRYPTO: &str = "2.16.840.1.113730.4.1";

/// How the best way ends.
fn at_end(links: &[Link<'_>], path: &Path, stores: &Stores) -> Option<CertificateProblem> {
    let last = links.get(*path.steps.last()?)?;
    let subject = || untrusted(last.parsed.subject().to_string().as_bytes());
    let issuer = || untrusted(last.parsed.issuer().to_string().as_bytes());
    match &path.end {
        End::Anchor(_) => None,
        End::BadSignature => Some(CertificateProblem::BadSignature { at: last.place() }),
        // Nobody is unknown to a store that could not be read.
        _ if stores.values().all(|store| store.blind().is_some()) => match path.end {
            End::SelfSigned if last.at == 0 => Some(CertificateProblem::SelfSigned),
            _ => None,
        },
        End::SelfSigned if last.at == 0 => Some(CertificateProblem::SelfSigned),
        End::SelfSigned => Some(CertificateProblem::UnknownRoot { subject: subject() }),
        End::Missing => Some(match issuer_is_root(last) {
            true => CertificateProblem::UnknownRoot { subject: issuer() },
            false => CertificateProblem::Incomplete { issuer: issuer() },
        }),
    }
}

/// Is it a root that is missing behind this certificate, or one between?
///
/// A certificate that names its issuer's own issuer says it (RFC 5280 section 4.2.1.1). Otherwise public authorities never sign
/// servers with a root (CA/Browser Forum, Baseline Requirements 6.1.7), and say of each authority below one where its issuer
/// is to be fetched; private ones do neither.
fn issuer_is_root(link: &Link<'_>) -> bool {
    let named = link.parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(key) => key.authority_cert_issuer.as_ref(),
        _ => None,
    });
    let above = named.into_iter().flatten().find_map(|name| match name {
        GeneralName::DirectoryName(name) => Some(canonical(name)),
        _ => None,
    });
    match above {
        Some(above) => above == link.issuer,
        None => link.at > 0 && issuer_urls(link).is_empty(),
    }
}

/// What only the server's own certificate can be wrong in.
fn of_server(leaf: &Link<'_>, self_signed: bool) -> Vec<CertificateProblem> {
    // Many make certificates of their own with `openssl req -x509`, which marks them as an authority's.
    let authority = leaf.parsed.is_ca() && !self_signed && !leaf.is_self_issued();
    authority.then_some(CertificateProblem::NotACa { at: 0 }).into_iter().collect()
}

/// The worst first: what no client takes, before what some do not.
fn rank(problem: &CertificateProblem) -> u8 {
    match problem {
        CertificateProblem::BadSignature { .. } => 0,
        CertificateProblem::Expired { .. } => 1,
        CertificateProblem::NotYetValid { .. } => 2,
        CertificateProblem::SelfSigned => 3,
        CertificateProblem::UnknownRoot { .. } => 4,
        CertificateProblem::Incomplete { .. } => 5,
        CertificateProblem::NameMismatch { .. } => 6,
        CertificateProblem::WrongUsage { .. } => 7,
        CertificateProblem::NotACa { .. } => 8,
        CertificateProblem::PathTooLong { .. } => 9,
        CertificateProblem::NameNotAllowed { .. } => 10,
        CertificateProblem::UnknownCritical { .. } => 11,
        CertificateProblem::WeakKey { .. } => 12,
        CertificateProblem::WeakSignature { .. } => 13,
        CertificateProblem::Unreadable { .. } => 14,
        CertificateProblem::Disordered => 15,
    }
}
