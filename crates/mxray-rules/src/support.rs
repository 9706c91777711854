//! Until when distributions and mail servers are maintained: a dated table, and arithmetic on its dates. Data, no judgement.
//!
//! A row stands here only where its source says so. Releases that are not listed are not known, which is not the same as old.

/// When the sources were last read. What a rule says by this table weakens from then on.
pub const READ_ON: &str = "2026-04-25";
/// Two years later releases and promises have changed too much to go by this table.
pub const GOOD_UNTIL: &str = "2028-04-25";

/// One release of a distribution. Dates are `YYYY-MM-DD`, which sort as text; a release is maintained on its last day.
#[derive(Debug)]
pub struct Release {
    /// ID= of os-release(5).
    pub id: &'static str,
    /// VERSION_ID=, or its beginning up to a dot.
    pub version: &'static str,
    /// The last day of security updates that everybody gets, free long-term support included.
    pub until: &'static str,
    /// The last day of paid support. Empty: none that is known.
    pub paid_until: &'static str,
}

const fn row(id: &'static str, version: &'static str, until: &'static str, paid_until: &'static str) -> Release {
    Release { id, version, until, paid_until }
}

/// Debian: `eol-lts` (else `eol`) and `eol-elts` of `debian.csv`; Ubuntu: `eol-server` (else `eol`) and `eol-legacy` (else
/// `eol-esm`) of `ubuntu.csv`, both of Debian's package distro-info-data 0.58+deb12u7. Red Hat and those that rebuild it:
/// the end of maintenance support of Red Hat's "Product Life Cycles", and the projects' own announcements where they end
/// earlier. Alpine: alpinelinux.org/releases.
pub const RELEASES: &[Release] = &[
    row("debian", "7", "2018-05-31", "2020-06-30"),
    row("debian", "8", "2020-06-30", "2025-06-30"),
    row("debian", "9", "2022-06-30", "2027-06-30"),
    row("debian", "10", "2024-06-30", "2029-06-30"),
    row("debian", "11", "2026-08-31", "2031-06-30"),
    row("debian", "12", "2028-06-30", "2033-06-30"),
    row("debian", "13", "2030-06-30", "2035-06-30"),
    row("ubuntu", "14.04", "2019-04-25", "2026-04-28"),
    row("ubuntu", "16.04", "2021-04-30", "2028-04-25"),
    row("ubuntu", "18.04", "2023-05-31", "2030-04-30"),
    row("ubuntu", "20.04", "2025-05-29", "2032-04-27"),
    row("ubuntu", "20.10", "2021-07-22", ""),
    row("ubuntu", "21.04", "2022-01-20", ""),
    row("ubuntu", "21.10", "2022-07-14", ""),
    row("ubuntu", "22.04", "2027-06-01", "2034-04-25"),
    row("ubuntu", "22.10", "2023-07-20", ""),
    row("ubuntu", "23.04", "2024-01-25", ""),
    row("ubuntu", "23.10", "2024-07-11", ""),
    row("ubuntu", "24.04", "2029-05-31", "2036-04-29"),
    row("ubuntu", "24.10", "2025-07-10", ""),
    row("ubuntu", "25.04", "2026-01-15", ""),
    row("ubuntu", "25.10", "2026-07-09", ""),
    row("ubuntu", "26.04", "2031-05-29", "2038-04-27"),
    row("rhel", "6", "2020-11-30", "2024-06-30"),
    row("rhel", "7", "2024-06-30", "2028-06-30"),
    row("rhel", "8", "2029-05-31", ""),
    row("rhel", "9", "2032-05-31", ""),
    row("rhel", "10", "2035-05-31", ""),
    row("centos", "6", "2020-11-30", "2026-11-30"),
    row("centos", "7", "2024-06-30", "2028-06-30"),
    // CentOS Linux 8 ended on 2021-12-31, CentOS Stream 8, which has the same ID and version, on this day.
    row("centos", "8", "2024-05-31", "2029-05-31"),
    row("centos", "9", "2027-05-31", ""),
    row("almalinux", "8", "2029-05-31", ""),
    row("almalinux", "9", "2032-05-31", ""),
    row("almalinux", "10", "2035-05-31", ""),
    row("rocky", "8", "2029-05-31", ""),
    row("rocky", "9", "2032-05-31", ""),
    row("rocky", "10", "2035-05-31", ""),
    row("alpine", "3.17", "2024-11-22", ""),
    row("alpine", "3.18", "2025-05-09", ""),
    row("alpine", "3.19", "2025-11-01", ""),
    row("alpine", "3.20", "2026-04-01", ""),
    row("alpine", "3.21", "2026-11-01", ""),
    row("alpine", "3.22", "2027-05-01", ""),
];

/// A mail server as its own authors maintain it.
#[derive(Debug)]
pub struct Upstream {
    pub software: &'static str,
    /// The first release line that they still maintain.
    pub maintained_from: &'static [u32],
    pub source: &'static str,
    /// The packages that bring it, by their distributions' names; a `*` stands for the rest.
    pub packages: &'static [&'static str],
}

pub const UPSTREAM: &[Upstream] = &[
    Upstream {
        software: "postfix",
        // The stable release 3.11 and three before it.
        maintained_from: &[3, 8],
        source: "https://www.postfix.org/announcements.html (the stable release and three before it)",
        packages: &["postfix"],
    },
    Upstream {
        software: "dovecot",
        maintained_from: &[2, 3],
        source: "https://www.dovecot.org/download/ (2.3 and 2.4)",
        packages: &["dovecot-core", "dovecot"],
    },
];

/// OpenSSL's release lines and the last day of their public support: "Release Strategy"
/// (openssl-library.org/policies/releasestrat/, last modified on 2025-06-25), for 1.0.2 and 1.1.x its earlier versions.
pub const OPENSSL: &[(&[u32], &str)] = &[
    (&[1, 0, 2], "2019-12-31"),
    (&[1, 1, 0], "2019-09-11"),
    (&[1, 1, 1], "2023-09-11"),
    (&[3, 0], "2026-09-07"),
    (&[3, 1], "2025-03-14"),
    (&[3, 2], "2025-11-23"),
    (&[3, 3], "2026-04-09"),
    (&[3, 4], "2026-10-22"),
    (&[3, 5], "2030-04-08"),
];
pub const OPENSSL_SOURCE: &str = "https://openssl-library.org/policies/releasestrat/";

/// The last day of a version's support by OpenSSL's own word: `1.1.1w`, `3.0.17`. `None`: the table does not know it.
pub fn openssl_until(version: &str) -> Option<&'static str> {
    // The letter of 1.1.1w is a patch, and not a part of its number.
    let parts: Vec<u32> = numbers(version.trim_end_matches(|c: char| c.is_ascii_lowercase()));
    OPENSSL.iter().find(|(line, _)| parts.starts_with(line)).map(|(_, until)| *until)
}

/// The row for what os-release says of itself.
pub fn release(id: &str, version: &str) -> Option<&'static Release> {
    RELEASES.iter().find(|row| {
        let rest = version.strip_prefix(row.version);
        row.id == id && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

pub fn upstream(software: &str) -> Option<&'static Upstream> {
    UPSTREAM.iter().find(|row| row.software == software)
}

/// The numbers at the beginning of a version: `3.7.11` of `3.7.11-0+deb12u1`, without a package's epoch (`1:`).
pub fn numbers(version: &str) -> Vec<u32> {
    let bare = version.split_once(':').map_or(version, |(_, rest)| rest);
    let end = bare.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(bare.len());
    bare.get(..end).unwrap_or_default().split('.').map_while(|part| part.parse().ok()).collect()
}

/// Seconds since 1970 at which a `YYYY-MM-DD` begins in UTC. `None`: it is no date.
pub fn begins_s(date: &str) -> Option<i64> {
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1600..=9999).contains(&year) {
        return None;
    }
    // Years from March, so that the leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400)
}

/// The day in UTC, as `YYYY-MM-DD`, of seconds since 1970.
pub fn date_of(seconds: i64) -> String {
    // Days from 0000-03-01, so that the leap day is the last one of its year; 146,097 days are four hundred years.
    let days = seconds.div_euclid(86_400) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, late) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_found_by_whole_numbers() {
        assert_eq!(release("debian", "10").unwrap().until, "2024-06-30");
        assert_eq!(release("rhel", "8.10").unwrap().until, "2029-05-31");
        assert_eq!(release("alpine", "3.20.3").unwrap().until, "2026-04-01");
        for (id, version) in [("debian", "1"), ("debian", ""), ("alpine", "3.2"), ("raspbian", "10"), ("debian", "100")]
        {
            assert!(release(id, version).is_none(), "{id} {version}");
        }
    }

    #[test]
    fn the_table_is_made_of_dates_in_order() {
        for row in RELEASES {
            let paid = if row.paid_until.is_empty() { "9999-12-31" } else { row.paid_until };
            for date in [row.until, paid] {
                assert!(date.len() == 10 && begins_s(date).is_some(), "{row:?}");
            }
            assert!(row.until <= paid, "{row:?}");
            let same = |other: &&Release| (other.id, other.version) == (row.id, row.version);
            assert_eq!(RELEASES.iter().filter(same).count(), 1, "{row:?}");
        }
        assert!(READ_ON < GOOD_UNTIL);
    }

    #[test]
    fn a_line_of_openssl_is_found_by_its_numbers() {
        assert_eq!(openssl_until("1.1.1w"), Some("2023-09-11"));
        assert_eq!(openssl_until("3.0.17"), Some("2026-09-07"));
        for unknown in ["", "3", "3.50.1", "1.1", "0.9.8zh", "4.0.0"] {
            assert_eq!(openssl_until(unknown), None, "{unknown}");
        }
        assert!(OPENSSL.iter().all(|(_, until)| begins_s(until).is_some()));
    }

    #[test]
    fn dates_are_days() {
        assert_eq!(begins_s("1970-01-01"), Some(0));
        assert_eq!(begins_s("2000-03-01"), Some(951_868_800));
        assert_eq!(begins_s("2024-02-29"), Some(1_709_164_800));
        for date in ["1970-01-01", "2000-02-29", "2024-12-31", "2100-03-01", "1600-01-01"] {
            assert_eq!(date_of(begins_s(date).unwrap() + 86_399), date);
        }
        for bad in ["", "2024", "2024-13-01", "x-01-01", "0001-01-01"] {
            assert_eq!(begins_s(bad), None, "{bad}");
        }
    }

    #[test]
    fn versions_are_numbers_in_front() {
        assert_eq!(numbers("1:2.3.19.1+dfsg1-2.1+deb12u1"), [2, 3, 19, 1]);
        assert_eq!(numbers("3.7.11-0+deb12u1"), [3, 7, 11]);
        assert_eq!(numbers("2.3.19.1 (9b53102964)"), [2, 3, 19, 1]);
        assert!(numbers("unknown").is_empty());
        assert!(numbers("3.10.1") > vec![3, 8]);
    }
}
