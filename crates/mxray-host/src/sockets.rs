//! Sockets of this network namespace.

use mxray_model::Seen;
use mxray_model::evidence::AcceptQueue;

#[derive(Debug, Clone)]
pub struct UnixListener {
    pub path: String,
    pub raw_path: Vec<u8>,
    pub inode: u64,
    pub file: Option<(u64, u64)>,
    pub queue: Seen<AcceptQueue>,
    pub uid: u32,
}

#[derive(Debug, Clone, Default)]
pub struct Sample {
    unix: Vec<UnixListener>,
}

impl Sample {
    pub fn unix_listeners(&self) -> &[UnixListener] {
        &self.unix
    }
}
