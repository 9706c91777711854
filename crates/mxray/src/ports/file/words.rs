//! The words that stand in an assignments file for what they mean, for reading and for writing.

use mxray_model::evidence::{TlsMode, V6Policy};

pub const V6: [(&str, V6Policy); 4] =
    [("any", V6Policy::Any), ("none", V6Policy::None), ("dual", V6Policy::Dual), ("separate", V6Policy::Separate)];

pub const TLS: [(&str, TlsMode); 4] = [
    ("none", TlsMode::None),
    ("starttls", TlsMode::Starttls),
    ("starttls-required", TlsMode::StarttlsRequired),
    ("implicit", TlsMode::Implicit),
];
