//! Tests in network namespaces: every outcome of connect(2), and every place on a way where a port can be stopped.

mod dnssec;
mod net;
mod outcomes;
mod ways;

/// Nobody listens there from now on. Dropping a listener is not enough: a child that another test is about to start
/// has its descriptor until it executes its program, and so long the kernel goes on accepting.
pub fn closes(listener: &impl std::os::fd::AsFd) {
    rustix::net::shutdown(listener, rustix::net::Shutdown::Read).unwrap();
}
