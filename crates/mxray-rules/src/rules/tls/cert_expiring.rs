//! TLS104: a certificate is near its end, and nobody has renewed it.

use crate::outside::{self, Contact, Verdict};
use crate::rule::{Rule, Said};
use crate::transport;
use mxray_model::evidence::Certificate;
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "TLS104",
    name: "cert-expiring",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a certificate is in the last third of its life and has not been renewed",
    page: include_str!("cert_expiring.md"),
    check,
};

const DAY_S: i64 = 86_400;
/// The longest that public authorities issue. Private ones of ten years are renewed by people, who do not begin three years
/// before.
const LIFETIME_MAX_S: i64 = 398 * DAY_S;
/// Renewal begins when two thirds have passed, and tries a few times a day: so long it may take.
const GRACE_S: i64 = 3 * DAY_S;

struct Expiring {
    not_after: String,
    left_s: i64,
    overdue: bool,
}

fn check(evidence: &Evidence) -> Said {
    outside::each(
        evidence,
        &RULE,
        "its certificate is not near its end",
        |contact| judge(evidence, contact),
        |bad| {
            let expiring = &bad.first.1;
            let left = transport::span(expiring.left_s.unsigned_abs());
            let severity = if expiring.overdue { RULE.severity } else { Severity::Notice };
            let text =
                "Renew it, and find out why that has not happened by itself (certbot: `certbot renew --dry-run`).";
            let finding = bad
                .finding(
                    &RULE,
                    outside::for_operator(severity, bad.endpoint),
                    format!("{}: the certificate ends in {left} and has not been renewed.", bad.whose()),
                )
                .confidence(0.9)
                .data("not_after", expiring.not_after.clone())
                .data("left_days", expiring.left_s / DAY_S);
            let younger = transport::files(evidence, bad.endpoint, None)
                .and_then(|(_, files)| transport::younger_on_disk(evidence, files, &expiring.not_after));
            let text = match younger {
                Some(until) => format!(
                    "The file holds a renewed one already (until {until}): have the server read it, and let what renews it reload the server each time."
                ),
                None => text.to_owned(),
            };
            bad.because(finding, &["tls", "value", "chain", "value", "0"], |one| {
                format!("it is valid until {}", one.not_after)
            })
            .fix(
                transport::certificate_step(evidence, bad.endpoint, &text)
                    .verify(format!("{} | openssl x509 -noout -dates", transport::s_client(bad.endpoint))),
            )
        },
    )
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<Expiring> {
    let (_, chain) = match transport::chain(evidence, contact) {
        Ok(seen) => seen,
        Err(verdict) => return verdict,
    };
    let now = match &evidence.clock.now_s {
        mxray_model::Seen::Value(now) => *now,
        mxray_model::Seen::Absent => return Verdict::Silent,
        mxray_model::Seen::Unknown(blind) => return Verdict::Blind(blind.clone()),
    };
    let leaf = chain.first().map(|presented| &presented.certificate);
    match leaf {
        Some(mxray_model::Seen::Value(leaf)) => near_end(leaf, now).map_or(Verdict::Well, Verdict::Bad),
        Some(mxray_model::Seen::Unknown(blind)) => Verdict::Blind(blind.clone()),
        _ => Verdict::Silent,
    }
}

fn near_end(leaf: &Certificate, now: i64) -> Option<Expiring> {
    let (begin, end) = (transport::moment_s(&leaf.not_before)?, transport::moment_s(&leaf.not_after)?);
    let left_s = end - now;
    // What has expired is TLS103's.
    let lifetime = (end - begin).min(LIFETIME_MAX_S);
    let third = lifetime / 3;
    (left_s >= 0 && now >= begin && left_s < third).then(|| Expiring {
        not_after: leaf.not_after.clone(),
        left_s,
        overdue: left_s < third - GRACE_S.min(third / 4),
    })
}
