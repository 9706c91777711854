//! `struct tcp_info` (linux/tcp.h), read by length: a field that this kernel does not send is `None`, never zero.

/// One socket's `tcp_info`, where the kernel put it.
#[derive(Debug, Clone, Copy)]
pub struct TcpInfo<'a> {
    bytes: &'a [u8],
}

/// Longest one that is kept; what a newer kernel appends beyond it has no name here.
pub(crate) const BYTES_KEPT_MAX: usize = 232;

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $kind:ident at $offset:literal;)*) => {
        impl<'a> TcpInfo<'a> {
            $($(#[$doc])* pub fn $name(self) -> Option<$kind> { self.$kind($offset) })*
        }
        /// Name and value of every 32 and 64 bit field that this kernel sent, in the kernel's order; the unit is in the
        /// name.
        pub fn each(info: TcpInfo<'_>, mut with: impl FnMut(&'static str, u64)) {
            $(if let Some(value) = info.$name() { with(stringify!($name), u64::from(value)); })*
        }
    };
}

fields! {
    retransmits: u8 at 2;
    probes: u8 at 3;
    backoff: u8 at 4;
    rto_us: u32 at 8;
    snd_mss_bytes: u32 at 16;
    rcv_mss_bytes: u32 at 20;
    unacked: u32 at 24;
    lost: u32 at 32;
    retrans: u32 at 36;
    /// Since data was last sent; on a connection that has not sent any: since its handshake ended.
    last_data_sent_ms: u32 at 44;
    last_data_recv_ms: u32 at 52;
    last_ack_recv_ms: u32 at 56;
    pmtu_bytes: u32 at 60;
    rcv_ssthresh_bytes: u32 at 64;
    rtt_us: u32 at 68;
    rttvar_us: u32 at 72;
    snd_cwnd: u32 at 80;
    total_retrans: u32 at 100;
    pacing_rate_bytes_per_s: u64 at 104;
    bytes_acked: u64 at 120;
    bytes_received: u64 at 128;
    segs_out: u32 at 136;
    segs_in: u32 at 140;
    notsent_bytes: u32 at 144;
    min_rtt_us: u32 at 148;
    data_segs_out: u32 at 156;
    /// Shows what a sender tried, not what arrived: a policer leaves it high.
    delivery_rate_bytes_per_s: u64 at 160;
    busy_time_us: u64 at 168;
    rwnd_limited_us: u64 at 176;
    sndbuf_limited_us: u64 at 184;
    delivered: u32 at 192;
    bytes_sent: u64 at 200;
    bytes_retrans: u64 at 208;
    dsack_dups: u32 at 216;
    reord_seen: u32 at 220;
    snd_wnd_bytes: u32 at 228;
}

impl<'a> TcpInfo<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        TcpInfo { bytes }
    }

    /// `delivery_rate` was limited by the application, so it says nothing about the path.
    pub fn is_app_limited(self) -> Option<bool> {
        self.bytes.get(7).map(|bits| bits & 1 != 0)
    }

    fn u8(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn u32(self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u32::from_ne_bytes(*bytes))
    }

    fn u64(self, at: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_struct_has_fewer_fields() {
        let mut bytes = [0; BYTES_KEPT_MAX];
        bytes[68..72].copy_from_slice(&1500u32.to_ne_bytes());
        bytes[228..232].copy_from_slice(&65535u32.to_ne_bytes());
        let full = TcpInfo::new(&bytes);
        assert_eq!((full.rtt_us(), full.snd_wnd_bytes()), (Some(1500), Some(65535)));
        // Linux 3.x ended after total_retrans.
        let old = TcpInfo::new(&bytes[..104]);
        assert_eq!((old.rtt_us(), old.total_retrans()), (Some(1500), Some(0)));
        assert_eq!((old.bytes_acked(), old.snd_wnd_bytes()), (None, None));
        let mut seen = 0;
        each(TcpInfo::new(&bytes[..231]), |_, _| seen += 1);
        let mut all = 0;
        each(full, |_, _| all += 1);
        assert_eq!(seen + 1, all);
        each(TcpInfo::new(&[]), |name, _| panic!("{name}"));
    }
}
