//! Other registries of TLS: groups for key exchange ("TLS Supported Groups") and alerts ("TLS Alerts").

use mxray_model::session::{Registered, TlsVersion};

pub const SECP256R1: u16 = 23;
pub const SECP384R1: u16 = 24;
pub const SECP521R1: u16 = 25;
pub const X25519: u16 = 29;
pub const X448: u16 = 30;
/// Post-quantum: X25519 with ML-KEM-768.
pub const X25519_MLKEM768: u16 = 4588;

#[rustfmt::skip]
const GROUPS: &[(u16, &str)] = &[
    (1, "sect163k1"), (2, "sect163r1"), (3, "sect163r2"), (4, "sect193r1"), (5, "sect193r2"), (6, "sect233k1"),
    (7, "sect233r1"), (8, "sect239k1"), (9, "sect283k1"), (10, "sect283r1"), (11, "sect409k1"), (12, "sect409r1"),
    (13, "sect571k1"), (14, "sect571r1"), (15, "secp160k1"), (16, "secp160r1"), (17, "secp160r2"), (18, "secp192k1"),
    (19, "secp192r1"), (20, "secp224k1"), (21, "secp224r1"), (22, "secp256k1"), (SECP256R1, "secp256r1"),
    (SECP384R1, "secp384r1"), (SECP521R1, "secp521r1"), (26, "brainpoolP256r1"), (27, "brainpoolP384r1"),
    (28, "brainpoolP512r1"), (X25519, "x25519"), (X448, "x448"), (31, "brainpoolP256r1tls13"),
    (32, "brainpoolP384r1tls13"), (33, "brainpoolP512r1tls13"), (256, "ffdhe2048"), (257, "ffdhe3072"),
    (258, "ffdhe4096"), (259, "ffdhe6144"), (260, "ffdhe8192"), (512, "MLKEM512"), (513, "MLKEM768"), (514, "MLKEM1024"),
    (4587, "SecP256r1MLKEM768"), (X25519_MLKEM768, "X25519MLKEM768"), (4589, "SecP384r1MLKEM1024"),
    (25497, "X25519Kyber768Draft00"),
];

/// What clients of today offer. Groups of finite fields are left out up to TLS 1.2: offering them would change which prime a
/// server takes (RFC 7919 section 4), and the prime that it takes by itself is what is asked.
pub fn usual_groups(version: TlsVersion) -> &'static [u16] {
    match version {
        TlsVersion::Ssl3 => &[],
        TlsVersion::Tls13 => &[X25519, X25519_MLKEM768, SECP256R1, SECP384R1, SECP521R1, X448, 256, 257, 258],
        _ => &[X25519, SECP256R1, SECP384R1, SECP521R1, X448],
    }
}

/// The group by its number, with its name where it has one.
pub fn group(number: u16) -> Registered {
    let name = GROUPS.iter().find(|(known, _)| *known == number).map(|(_, name)| (*name).to_owned());
    Registered { number, name }
}

#[rustfmt::skip]
const ALERTS: &[(u8, &str)] = &[
    (0, "close_notify"), (10, "unexpected_message"), (20, "bad_record_mac"), (21, "decryption_failed"),
    (22, "record_overflow"), (30, "decompression_failure"), (40, "handshake_failure"), (41, "no_certificate"),
    (42, "bad_certificate"), (43, "unsupported_certificate"), (44, "certificate_revoked"), (45, "certificate_expired"),
    (46, "certificate_unknown"), (47, "illegal_parameter"), (48, "unknown_ca"), (49, "access_denied"),
    (50, "decode_error"), (51, "decrypt_error"), (52, "too_many_cids_requested"), (60, "export_restriction"),
    (70, "protocol_version"), (71, "insufficient_security"), (80, "internal_error"), (86, "inappropriate_fallback"),
    (90, "user_canceled"), (100, "no_renegotiation"), (109, "missing_extension"), (110, "unsupported_extension"),
    (111, "certificate_unobtainable"), (112, "unrecognized_name"), (113, "bad_certificate_status_response"),
    (114, "bad_certificate_hash_value"), (115, "unknown_psk_identity"), (116, "certificate_required"),
    (117, "general_error"), (120, "no_application_protocol"), (121, "ech_required"),
];

/// An alert's name. `None`: it has none.
pub fn alert(number: u8) -> Option<String> {
    ALERTS.iter().find(|(known, _)| *known == number).map(|(_, name)| (*name).to_owned())
}
