//! What was seen by connecting and by asking: connections, name lookups, TLS, sessions, endpoint by endpoint.
//!
//! `mxray-net` fills these; the conversations themselves are values of [`crate::session`]. What must not live here: what a
//! combination means (rules), and how it is shown (renderers).

mod conduct;
mod dial;
mod dns;
mod endpoint;
mod tls;

pub use conduct::{Conduct, NodeSample, Retried, Role, RoleSign, StarttlsFacts};
pub use dial::{Dial, DialOutcome, Distance, HopAnswer, IcmpError, WayAnswer};
pub use dns::{DnsOutcome, DnsRecord, DnsTrouble, DnsTry, DnssecAnswer, Lookup, RecordData, ResolverCheck, Transport};
pub use endpoint::{
    EndpointWhy, ExaminedAddress, ExaminedEndpoint, Phase, PhaseTime, Session, SessionProtocol, standard_service,
};
pub use tls::{CertificateProblem, PresentedCertificate, RootStore, TlsEnding, TlsFacts};
