//! The table of settings. A setting is one entry: its name, how its value is read, how it is shown.

use super::parse::{self, ListedZone};
use super::{Secret, Settings};
use mxray_model::nearest::nearest;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::DeValue;

/// More in one list is a mistake, or a file made by a program that went wrong.
const LIST_ITEMS_MAX: usize = 4096;
const TIER_DEFAULT: u8 = 3;

/// One setting.
pub struct Key {
    pub section: &'static str,
    pub name: &'static str,
    /// Its value, or what surrounds it, may be a secret: never shown as it stands in the file.
    pub secret: bool,
    pub set: fn(&mut Settings, &Spanned<DeValue<'_>>) -> Result<(), Wrong>,
    pub show: fn(&Settings) -> String,
}

impl Key {
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }
}

/// What is wrong with a value, and where.
#[derive(Debug)]
pub struct Wrong {
    pub at: Range<usize>,
    pub what: String,
    pub help: Option<String>,
}

impl Wrong {
    pub fn at(span: Range<usize>, what: impl Into<String>) -> Self {
        Wrong { at: span, what: what.into(), help: None }
    }
}

pub const KEYS: &[Key] = &[
    Key {
        section: "network",
        name: "public_prefixes",
        secret: false,
        set: |settings, value| put(&mut settings.network.public_prefixes, each(value, parse::prefix)),
        show: |settings| list(&settings.network.public_prefixes),
    },
    Key {
        section: "dns",
        name: "servers",
        secret: false,
        set: |settings, value| put(&mut settings.dns.servers, each(value, parse::server)),
        show: |settings| list(&settings.dns.servers),
    },
    Key {
        section: "dns",
        name: "trust_anchor_file",
        secret: false,
        set: |settings, value| put(&mut settings.dns.trust_anchor_file, optional(value, absolute)),
        show: |settings| {
            quoted(&settings.dns.trust_anchor_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default())
        },
    },
    Key {
        section: "lists",
        name: "zones",
        secret: false,
        set: |settings, value| put(&mut settings.lists.zones, items(value)?.iter().map(zone).collect::<Result<_, _>>()),
        show: |settings| format!("[{}]", settings.lists.zones.iter().map(shown_zone).collect::<Vec<_>>().join(", ")),
    },
    Key {
        section: "submission",
        name: "user",
        secret: false,
        set: |settings, value| put(&mut settings.submission.user, optional(value, |text| Ok(text.to_owned()))),
        show: |settings| quoted(settings.submission.user.as_deref().unwrap_or_default()),
    },
    Key {
        section: "submission",
        name: "password",
        secret: true,
        set: |settings, value| put(&mut settings.submission.password, optional(value, parse::secret)),
        show: |settings| quoted(&settings.submission.password.as_ref().map(Secret::to_string).unwrap_or_default()),
    },
    Key {
        section: "replies",
        name: "rules",
        secret: false,
        set: |settings, value| put(&mut settings.replies.rules, each(value, absolute)),
        show: |settings| {
            let paths: Vec<String> = settings.replies.rules.iter().map(|path| path.display().to_string()).collect();
            list(&paths)
        },
    },
    Key {
        section: "doctor",
        name: "targets",
        secret: false,
        set: |settings, value| put(&mut settings.doctor.targets, each(value, parse::target)),
        show: |settings| list(&settings.doctor.targets),
    },
    Key {
        section: "doctor",
        name: "sessions",
        secret: false,
        set: |settings, value| put(&mut settings.doctor.sessions, boolean(value)),
        show: |settings| settings.doctor.sessions.to_string(),
    },
    Key {
        section: "doctor",
        name: "since",
        secret: false,
        set: |settings, value| put(&mut settings.doctor.since, one(value, parse::span)),
        show: |settings| quoted(&settings.doctor.since.to_string()),
    },
    Key {
        section: "doctor",
        name: "deadline_s",
        secret: false,
        set: |settings, value| {
            let seconds = number(value)?;
            let deadline = parse::deadline_of(seconds).map_err(|what| Wrong::at(value.span(), what));
            put(&mut settings.doctor.deadline, deadline)
        },
        show: |settings| settings.doctor.deadline.as_secs_f64().to_string(),
    },
    Key {
        section: "doctor",
        name: "fail_on",
        secret: false,
        set: |settings, value| put(&mut settings.doctor.fail_on, one(value, parse::fail_on).map(|level| level.0)),
        show: |settings| quoted(parse::fail_on_name(settings.doctor.fail_on)),
    },
    Key {
        section: "ports",
        name: "assignments",
        secret: false,
        set: |settings, value| put(&mut settings.ports.assignments, optional(value, absolute)),
        show: |settings| {
            quoted(&settings.ports.assignments.as_ref().map(|path| path.display().to_string()).unwrap_or_default())
        },
    },
    Key {
        section: "baseline",
        name: "learn",
        secret: false,
        set: |settings, value| put(&mut settings.baseline.learn, boolean(value)),
        show: |settings| settings.baseline.learn.to_string(),
    },
];

fn put<T>(setting: &mut T, value: Result<T, Wrong>) -> Result<(), Wrong> {
    *setting = value?;
    Ok(())
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn list(values: &[impl ToString]) -> String {
    let values: Vec<_> = values.iter().map(|value| quoted(&value.to_string())).collect();
    format!("[{}]", values.join(", "))
}

fn shown_zone(zone: &ListedZone) -> String {
    let codes: Vec<_> = zone.codes.iter().map(|(code, meaning)| format!("\"{code}\" = {meaning:?}")).collect();
    format!(
        "{{ zone = {:?}, kind = \"{}\", codes = {{ {} }}, tier = {} }}",
        zone.zone,
        zone.kind.as_str(),
        codes.join(", "),
        zone.tier
    )
}

pub fn not_a(value: &Spanned<DeValue<'_>>, wanted: &str) -> Wrong {
    Wrong::at(value.span(), format!("{wanted} is wanted, not {}", value.get_ref().type_str()))
}

pub fn string<'a>(value: &'a Spanned<DeValue<'_>>) -> Result<&'a str, Wrong> {
    value.get_ref().as_str().ok_or_else(|| not_a(value, "a string"))
}

fn boolean(value: &Spanned<DeValue<'_>>) -> Result<bool, Wrong> {
    value.get_ref().as_bool().ok_or_else(|| not_a(value, "true or false"))
}

pub fn one<T>(value: &Spanned<DeValue<'_>>, read: impl Fn(&str) -> Result<T, String>) -> Result<T, Wrong> {
    read(string(value)?).map_err(|what| Wrong::at(value.span(), what))
}

/// An empty string stands for "not set", so that the sample can name every key.
fn optional<T>(value: &Spanned<DeValue<'_>>, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, Wrong> {
    if string(value)?.is_empty() { Ok(None) } else { one(value, read).map(Some) }
}

pub fn items<'a, 'i>(value: &'a Spanned<DeValue<'i>>) -> Result<&'a [Spanned<DeValue<'i>>], Wrong> {
    let items = value.get_ref().as_array().ok_or_else(|| not_a(value, "a list"))?;
    if items.len() > LIST_ITEMS_MAX {
        return Err(Wrong::at(value.span(), format!("more than {LIST_ITEMS_MAX} entries")));
    }
    Ok(items)
}

pub fn each<T>(value: &Spanned<DeValue<'_>>, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Wrong> {
    items(value)?.iter().map(|item| one(item, &read)).collect()
}

pub fn integer(value: &Spanned<DeValue<'_>>) -> Result<i64, Wrong> {
    let integer = value.get_ref().as_integer().ok_or_else(|| not_a(value, "a whole number"))?;
    i64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| Wrong::at(value.span(), "too large a number"))
}

fn number(value: &Spanned<DeValue<'_>>) -> Result<f64, Wrong> {
    let shape = value.get_ref();
    let text = match (shape.as_integer(), shape.as_float()) {
        (Some(integer), _) if integer.radix() == 10 => integer.as_str(),
        (_, Some(float)) => float.as_str(),
        _ => return Err(not_a(value, "a number")),
    };
    text.parse().map_err(|_| not_a(value, "a number"))
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("not an absolute path".to_owned()) }
}

const ZONE_KEYS: [&str; 4] = ["zone", "kind", "codes", "tier"];

fn zone(value: &Spanned<DeValue<'_>>) -> Result<ListedZone, Wrong> {
    let table = value.get_ref().as_table().ok_or_else(|| not_a(value, "a table { zone, kind, codes, tier }"))?;
    if let Some((key, _)) = table.iter().find(|(key, _)| !ZONE_KEYS.contains(&key.get_ref().as_ref())) {
        let near = nearest(key.get_ref(), ZONE_KEYS).map(|near| format!("did you mean `{near}`?"));
        return Err(Wrong {
            at: key.span(),
            what: format!("unknown key `{}` in a list's table", key.get_ref()),
            help: near.or_else(|| Some(format!("its keys are {}", ZONE_KEYS.join(", ")))),
        });
    }
    let wanted = |name: &str| {
        table.get(name).ok_or_else(|| Wrong::at(value.span(), format!("the list's table has no `{name}`")))
    };
    let tier = match table.get("tier") {
        None => TIER_DEFAULT,
        Some(tier) => match integer(tier)? {
            1 => 1,
            2 => 2,
            3 => 3,
            _ => return Err(Wrong::at(tier.span(), "a tier is 1, 2 or 3")),
        },
    };
    Ok(ListedZone {
        zone: one(wanted("zone")?, parse::domain)?,
        kind: one(wanted("kind")?, parse::list_kind)?,
        codes: table.get("codes").map_or_else(|| Ok(BTreeMap::new()), codes)?,
        tier,
    })
}

fn codes(value: &Spanned<DeValue<'_>>) -> Result<BTreeMap<std::net::Ipv4Addr, String>, Wrong> {
    let table = value.get_ref().as_table().ok_or_else(|| not_a(value, "a table of answers and meanings"))?;
    table
        .iter()
        .map(|(code, meaning)| {
            let address = parse::list_code(code.get_ref()).map_err(|what| Wrong::at(code.span(), what))?;
            Ok((address, string(meaning)?.to_owned()))
        })
        .collect()
}
