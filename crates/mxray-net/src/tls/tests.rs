//! Handshakes with real servers.
