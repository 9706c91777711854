//! Tests in network namespaces: every outcome of connect(2), and every place on a way where a port can be stopped.

mod dnssec;
mod net;
mod outcomes;
mod ways;
