//! Cipher suites: numbers and names of the registry (IANA, "TLS Cipher Suites"), and what a name says of the suite.
//!
//! All that a server of mail can be asked for without a key shared in advance: no PSK, SRP, Kerberos. Which class a suite is
//! of, what it needs and what is weak about it follows from its name alone, so that no row can contradict itself.

use mxray_model::session::{KeyKind, Registered, Suite, SuiteGroup, TlsVersion, Weakness};

/// 0x0062 and 0x0064 are reserved in the registry; servers had them under these names from a draft.
#[rustfmt::skip]
const SUITES: &[(u16, &str)] = &[
    (0x0001, "TLS_RSA_WITH_NULL_MD5"),
    (0x0002, "TLS_RSA_WITH_NULL_SHA"),
    (0x0003, "TLS_RSA_EXPORT_WITH_RC4_40_MD5"),
    (0x0004, "TLS_RSA_WITH_RC4_128_MD5"),
    (0x0005, "TLS_RSA_WITH_RC4_128_SHA"),
    (0x0006, "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5"),
    (0x0007, "TLS_RSA_WITH_IDEA_CBC_SHA"),
    (0x0008, "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA"),
    (0x0009, "TLS_RSA_WITH_DES_CBC_SHA"),
    (0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x000b, "TLS_DH_DSS_EXPORT_WITH_DES40_CBC_SHA"),
    (0x000c, "TLS_DH_DSS_WITH_DES_CBC_SHA"),
    (0x000d, "TLS_DH_DSS_WITH_3DES_EDE_CBC_SHA"),
    (0x000e, "TLS_DH_RSA_EXPORT_WITH_DES40_CBC_SHA"),
    (0x000f, "TLS_DH_RSA_WITH_DES_CBC_SHA"),
    (0x0010, "TLS_DH_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x0011, "TLS_DHE_DSS_EXPORT_WITH_DES40_CBC_SHA"),
    (0x0012, "TLS_DHE_DSS_WITH_DES_CBC_SHA"),
    (0x0013, "TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA"),
    (0x0014, "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA"),
    (0x0015, "TLS_DHE_RSA_WITH_DES_CBC_SHA"),
    (0x0016, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x0017, "TLS_DH_anon_EXPORT_WITH_RC4_40_MD5"),
    (0x0018, "TLS_DH_anon_WITH_RC4_128_MD5"),
    (0x0019, "TLS_DH_anon_EXPORT_WITH_DES40_CBC_SHA"),
    (0x001a, "TLS_DH_anon_WITH_DES_CBC_SHA"),
    (0x001b, "TLS_DH_anon_WITH_3DES_EDE_CBC_SHA"),
    (0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    (0x0032, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA"),
    (0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    (0x0034, "TLS_DH_anon_WITH_AES_128_CBC_SHA"),
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    (0x0038, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA"),
    (0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    (0x003a, "TLS_DH_anon_WITH_AES_256_CBC_SHA"),
    (0x003b, "TLS_RSA_WITH_NULL_SHA256"),
    (0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    (0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256"),
    (0x0040, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA256"),
    (0x0041, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA"),
    (0x0045, "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA"),
    (0x0046, "TLS_DH_anon_WITH_CAMELLIA_128_CBC_SHA"),
    (0x0062, "TLS_RSA_EXPORT1024_WITH_DES_CBC_SHA"),
    (0x0064, "TLS_RSA_EXPORT1024_WITH_RC4_56_SHA"),
    (0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0x006a, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA256"),
    (0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
    (0x006c, "TLS_DH_anon_WITH_AES_128_CBC_SHA256"),
    (0x006d, "TLS_DH_anon_WITH_AES_256_CBC_SHA256"),
    (0x0084, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA"),
    (0x0088, "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA"),
    (0x0089, "TLS_DH_anon_WITH_CAMELLIA_256_CBC_SHA"),
    (0x0096, "TLS_RSA_WITH_SEED_CBC_SHA"),
    (0x009a, "TLS_DHE_RSA_WITH_SEED_CBC_SHA"),
    (0x009b, "TLS_DH_anon_WITH_SEED_CBC_SHA"),
    (0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    (0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0x00a2, "TLS_DHE_DSS_WITH_AES_128_GCM_SHA256"),
    (0x00a3, "TLS_DHE_DSS_WITH_AES_256_GCM_SHA384"),
    (0x00a6, "TLS_DH_anon_WITH_AES_128_GCM_SHA256"),
    (0x00a7, "TLS_DH_anon_WITH_AES_256_GCM_SHA384"),
    (0x00ba, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA256"),
    (0x00be, "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA256"),
    (0x00c0, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA256"),
    (0x00c4, "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA256"),
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
    (0x1305, "TLS_AES_128_CCM_8_SHA256"),
    (0xc001, "TLS_ECDH_ECDSA_WITH_NULL_SHA"),
    (0xc002, "TLS_ECDH_ECDSA_WITH_RC4_128_SHA"),
    (0xc003, "TLS_ECDH_ECDSA_WITH_3DES_EDE_CBC_SHA"),
    (0xc004, "TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xc005, "TLS_ECDH_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xc006, "TLS_ECDHE_ECDSA_WITH_NULL_SHA"),
    (0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"),
    (0xc008, "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA"),
    (0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xc00b, "TLS_ECDH_RSA_WITH_NULL_SHA"),
    (0xc00c, "TLS_ECDH_RSA_WITH_RC4_128_SHA"),
    (0xc00d, "TLS_ECDH_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0xc00e, "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA"),
    (0xc00f, "TLS_ECDH_RSA_WITH_AES_256_CBC_SHA"),
    (0xc010, "TLS_ECDHE_RSA_WITH_NULL_SHA"),
    (0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA"),
    (0xc012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    (0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    (0xc015, "TLS_ECDH_anon_WITH_NULL_SHA"),
    (0xc016, "TLS_ECDH_anon_WITH_RC4_128_SHA"),
    (0xc017, "TLS_ECDH_anon_WITH_3DES_EDE_CBC_SHA"),
    (0xc018, "TLS_ECDH_anon_WITH_AES_128_CBC_SHA"),
    (0xc019, "TLS_ECDH_anon_WITH_AES_256_CBC_SHA"),
    (0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    (0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    (0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xc050, "TLS_RSA_WITH_ARIA_128_GCM_SHA256"),
    (0xc051, "TLS_RSA_WITH_ARIA_256_GCM_SHA384"),
    (0xc052, "TLS_DHE_RSA_WITH_ARIA_128_GCM_SHA256"),
    (0xc053, "TLS_DHE_RSA_WITH_ARIA_256_GCM_SHA384"),
    (0xc05c, "TLS_ECDHE_ECDSA_WITH_ARIA_128_GCM_SHA256"),
    (0xc05d, "TLS_ECDHE_ECDSA_WITH_ARIA_256_GCM_SHA384"),
    (0xc060, "TLS_ECDHE_RSA_WITH_ARIA_128_GCM_SHA256"),
    (0xc061, "TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384"),
    (0xc072, "TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_CBC_SHA256"),
    (0xc073, "TLS_ECDHE_ECDSA_WITH_CAMELLIA_256_CBC_SHA384"),
    (0xc076, "TLS_ECDHE_RSA_WITH_CAMELLIA_128_CBC_SHA256"),
    (0xc077, "TLS_ECDHE_RSA_WITH_CAMELLIA_256_CBC_SHA384"),
    (0xc09c, "TLS_RSA_WITH_AES_128_CCM"),
    (0xc09d, "TLS_RSA_WITH_AES_256_CCM"),
    (0xc09e, "TLS_DHE_RSA_WITH_AES_128_CCM"),
    (0xc09f, "TLS_DHE_RSA_WITH_AES_256_CCM"),
    (0xc0a0, "TLS_RSA_WITH_AES_128_CCM_8"),
    (0xc0a1, "TLS_RSA_WITH_AES_256_CCM_8"),
    (0xc0a2, "TLS_DHE_RSA_WITH_AES_128_CCM_8"),
    (0xc0a3, "TLS_DHE_RSA_WITH_AES_256_CCM_8"),
    (0xc0ac, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    (0xc0ad, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM"),
    (0xc0ae, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
    (0xc0af, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8"),
    (0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// Renegotiation is secured (RFC 5746 section 3.3): a signal in the place of a suite, which SSLv3 can carry, too.
pub(super) const SIGNAL_RENEGOTIATION: u16 = 0x00ff;

fn name(number: u16) -> Option<&'static str> {
    let place = SUITES.binary_search_by_key(&number, |(known, _)| *known).ok()?;
    SUITES.get(place).map(|(_, name)| *name)
}

/// What a name says.
#[derive(Debug, Clone, Copy)]
struct Kind(&'static str);

impl Kind {
    fn has(self, part: &str) -> bool {
        self.0.contains(part)
    }

    /// `DHE_RSA` of `TLS_DHE_RSA_WITH_…`; TLS 1.3 has none.
    fn exchange(self) -> &'static str {
        let rest = self.0.strip_prefix("TLS_").unwrap_or(self.0);
        rest.split_once("_WITH_").map_or("", |(exchange, _)| exchange)
    }

    fn is_export(self) -> bool {
        self.has("_EXPORT")
    }

    fn is_anonymous(self) -> bool {
        self.has("_anon_")
    }

    fn is_null(self) -> bool {
        self.has("_WITH_NULL_")
    }

    fn is_aead(self) -> bool {
        self.has("_GCM_") || self.has("_CCM") || self.has("CHACHA20")
    }

    /// DES with 56 bits, and 3DES.
    fn is_des(self) -> bool {
        self.has("DES_")
    }

    fn is_elliptic(self) -> bool {
        self.exchange().starts_with("ECDH")
    }

    fn is_dhe(self) -> bool {
        self.exchange().starts_with("DHE_")
    }

    /// TLS 1.3's own, or the first version that may carry it. Old suites are offered with later versions, too, although
    /// TLS 1.1 forbids some of them: what a server does is the question.
    fn belongs_to(self, version: TlsVersion) -> bool {
        let of_tls13 = self.exchange().is_empty();
        let of_tls12 = self.is_aead() || self.0.ends_with("_SHA256") || self.0.ends_with("_SHA384");
        match version {
            TlsVersion::Tls13 => of_tls13,
            TlsVersion::Ssl3 => !of_tls13 && !of_tls12 && !self.is_elliptic(),
            TlsVersion::Tls10 | TlsVersion::Tls11 => !of_tls13 && !of_tls12,
            TlsVersion::Tls12 | TlsVersion::Other(_) => !of_tls13,
        }
    }

    fn is_in(self, group: SuiteGroup) -> bool {
        // A suite that is weak for two reasons is in the group of the graver one, so that each group has one answer.
        let plain = !self.is_null() && !self.is_export() && !self.is_anonymous();
        match group {
            SuiteGroup::Any => plain,
            SuiteGroup::Null => self.is_null(),
            SuiteGroup::Export => self.is_export(),
            SuiteGroup::Anonymous => self.is_anonymous() && !self.is_null() && !self.is_export(),
            SuiteGroup::Rc4 => plain && self.has("RC4"),
            SuiteGroup::Des => plain && self.is_des(),
            SuiteGroup::Cbc => plain && self.has("_CBC_") && !self.is_des(),
            SuiteGroup::Aead => plain && self.is_aead(),
            SuiteGroup::Dhe => plain && self.is_dhe(),
        }
    }

    /// The key of the server's certificate. `ECDH_RSA` is a curve's key that an RSA key has signed: neither.
    fn is_of(self, keys: KeyKind) -> bool {
        let exchange = self.exchange();
        match keys {
            KeyKind::Any => true,
            _ if exchange.is_empty() => true,
            KeyKind::Rsa => {
                matches!(exchange, "RSA" | "DHE_RSA" | "ECDHE_RSA") || self.is_export() && exchange.starts_with("RSA_")
            }
            KeyKind::Ecdsa => exchange.ends_with("_ECDSA"),
        }
    }

    fn weak(self) -> Vec<Weakness> {
        let ephemeral = self.is_dhe() || self.exchange().starts_with("ECDHE_") || self.exchange().is_empty();
        let small_blocks = self.has("3DES") || self.has("IDEA");
        [
            (self.is_null(), Weakness::NoEncryption),
            (self.is_export(), Weakness::Export),
            (self.is_anonymous(), Weakness::Anonymous),
            (self.has("RC4"), Weakness::Rc4),
            (self.is_des() && !self.has("3DES"), Weakness::Des),
            (small_blocks, Weakness::SmallBlocks),
            (!ephemeral && !self.is_anonymous(), Weakness::NoForwardSecrecy),
        ]
        .into_iter()
        .filter_map(|(is, weakness)| is.then_some(weakness))
        .collect()
    }
}

/// The numbers of a group, in the registry's order.
pub(super) fn offered(version: TlsVersion, group: SuiteGroup, keys: KeyKind, elliptic: bool) -> Vec<u16> {
    let fits = |kind: Kind| {
        kind.belongs_to(version) && kind.is_in(group) && kind.is_of(keys) && (elliptic || !kind.is_elliptic())
    };
    let mut numbers: Vec<u16> = SUITES.iter().filter(|(_, name)| fits(Kind(name))).map(|(number, _)| *number).collect();
    // The later ones are the better ones: a server that takes the client's order shows its best.
    numbers.reverse();
    numbers
}

pub(super) fn suite(number: u16) -> Suite {
    let name = name(number);
    let weak = name.map(|name| Kind(name).weak()).unwrap_or_default();
    Suite { registered: Registered { number, name: name.map(str::to_owned) }, weak }
}

/// What the server's key exchange message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchange {
    Dh,
    Ecdh,
    ExportRsa,
    /// There is none.
    Nothing,
    Unknown,
}

pub(super) fn exchange(number: u16) -> Exchange {
    let Some(kind) = name(number).map(Kind) else { return Exchange::Unknown };
    match kind.exchange() {
        exchange if exchange.starts_with("DHE_") || exchange.starts_with("DH_anon") => Exchange::Dh,
        exchange if exchange.starts_with("ECDHE_") || exchange == "ECDH_anon" => Exchange::Ecdh,
        exchange if exchange.starts_with("RSA_EXPORT") => Exchange::ExportRsa,
        _ => Exchange::Nothing,
    }
}

pub(super) fn is_anonymous(number: u16) -> bool {
    name(number).is_some_and(|name| Kind(name).is_anonymous())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_every_suite_is_asked_for() {
        assert!(SUITES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        use SuiteGroup::*;
        for (number, name) in SUITES {
            let groups = [Null, Export, Anonymous, Rc4, Des, Cbc, Aead];
            let of: Vec<_> = groups.into_iter().filter(|group| Kind(name).is_in(*group)).collect();
            assert_eq!(of.len(), 1, "{name} is in {of:?}");
            assert_eq!(suite(*number).registered.name.as_deref(), Some(*name));
        }
    }

    #[test]
    fn a_group_is_what_it_says() {
        let names = |version, group, keys| -> Vec<&str> {
            offered(version, group, keys, true).into_iter().filter_map(name).collect()
        };
        use TlsVersion::*;
        let rc4 = names(Ssl3, SuiteGroup::Rc4, KeyKind::Any);
        assert_eq!(rc4, ["TLS_RSA_WITH_RC4_128_SHA", "TLS_RSA_WITH_RC4_128_MD5"]);
        assert_eq!(names(Tls13, SuiteGroup::Aead, KeyKind::Rsa).len(), 5);
        assert!(names(Tls13, SuiteGroup::Cbc, KeyKind::Any).is_empty());
        assert!(names(Tls11, SuiteGroup::Aead, KeyKind::Any).is_empty());
        assert!(names(Tls10, SuiteGroup::Des, KeyKind::Rsa).contains(&"TLS_RSA_WITH_3DES_EDE_CBC_SHA"));
        assert!(names(Tls12, SuiteGroup::Any, KeyKind::Ecdsa).iter().all(|name| name.contains("_ECDSA_")));
        assert!(names(Tls12, SuiteGroup::Any, KeyKind::Any).len() < 128, "some servers read no more");
        for export in names(Tls10, SuiteGroup::Export, KeyKind::Any) {
            assert!(export.contains("EXPORT"));
        }
    }

    #[test]
    fn what_is_weak_follows_from_the_name() {
        let weak = |number| suite(number).weak;
        assert_eq!(weak(0x1301), []);
        assert_eq!(weak(0xc02f), []);
        assert_eq!(weak(0x009c), [Weakness::NoForwardSecrecy]);
        assert_eq!(weak(0x0001), [Weakness::NoEncryption, Weakness::NoForwardSecrecy]);
        assert_eq!(weak(0x0017), [Weakness::Export, Weakness::Anonymous, Weakness::Rc4]);
        assert_eq!(weak(0xc018), [Weakness::Anonymous]);
        assert_eq!(weak(0x0016), [Weakness::SmallBlocks]);
        assert_eq!(weak(0x0009), [Weakness::Des, Weakness::NoForwardSecrecy]);
        assert_eq!((weak(0xffff), suite(0xffff).registered.name), (vec![], None));
    }
}
