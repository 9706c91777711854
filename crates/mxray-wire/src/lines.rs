//! From bytes to lines, and every byte into the transcript. All protocols share this.
//!
//! A line ends at LF. What is odd about it (no CR, a CR inside, a NUL, its length) is recorded, never repaired.

use crate::Moment;
use crate::secret::Secrets;
use mxray_model::session::{Anomaly, AnomalyKind, Entry, Limit, Mark, Raw, Transcript, What};

/// Longest line that is read: far beyond any protocol's limit, small enough for hundreds of sessions side by side.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of one session that are read. A talkative server's EHLO has one kilobyte.
pub(crate) const SESSION_BYTES_MAX: u64 = 4 << 20;
/// Most bytes that a transcript keeps of what was received.
const KEPT_BYTES_MAX: usize = 256 * 1024;
/// Most entries that are kept of what was received: a line of one byte costs a hundred, and more in JSON.
const ENTRIES_MAX: usize = 16 * 1024;
/// Most bytes of one message of ours that a transcript keeps; whoever sends it has the rest.
const SENT_BYTES_MAX: usize = 256 * 1024;
/// Most anomalies that are kept; the first ones say what is wrong.
const ANOMALIES_MAX: usize = 200;

/// A complete line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Without its ending, and with secrets masked.
    pub text: Vec<u8>,
    /// Its place in the transcript.
    pub entry: u32,
    pub at: Moment,
    /// Its length on the wire, ending included.
    pub bytes: usize,
}

/// Reads lines and writes the transcript.
#[derive(Debug)]
pub struct Lines {
    transcript: Transcript,
    secrets: Secrets,
    pending: Vec<u8>,
    /// Of `pending`, known to hold no LF.
    scanned: usize,
    /// When the first byte of `pending` came.
    began: Moment,
    received_bytes: u64,
    kept_bytes: usize,
    tls: bool,
    /// The longest line that the protocol allows, with its ending.
    line_bytes: usize,
}

impl Lines {
    pub fn new(line_bytes: usize) -> Self {
        Lines {
            transcript: Transcript::default(),
            secrets: Secrets::default(),
            pending: Vec::new(),
            scanned: 0,
            began: Moment::ZERO,
            received_bytes: 0,
            kept_bytes: 0,
            tls: false,
            line_bytes,
        }
    }

    /// Bytes came; `take` gives the lines that are complete.
    ///
    /// # Errors
    /// The session is longer than anybody reads.
    pub fn receive(&mut self, bytes: &[u8], now: Moment) -> Result<(), Limit> {
        if self.pending.is_empty() {
            self.began = now;
        }
        self.received_bytes += bytes.len() as u64;
        if self.received_bytes > SESSION_BYTES_MAX {
            self.transcript.left_out_bytes += bytes.len() as u64;
            return Err(Limit::SessionBytes);
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// The next complete line.
    ///
    /// # Errors
    /// It is longer than anybody reads; what came of it stands in the transcript.
    pub fn take(&mut self, now: Moment) -> Result<Option<Line>, Limit> {
        let unscanned = self.pending.get(self.scanned..).unwrap_or_default();
        let Some(at) = unscanned.iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.pending.len();
            if self.pending.len() > LINE_BYTES_MAX {
                self.flush(now);
                return Err(Limit::LineBytes);
            }
            return Ok(None);
        };
        let rest = self.pending.split_off(self.scanned + at + 1);
        let bytes = std::mem::replace(&mut self.pending, rest);
        self.scanned = 0;
        let began = std::mem::replace(&mut self.began, now);
        let entry = self.keep(&bytes, began, now);
        self.judge(&bytes, entry);
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let text = text.strip_suffix(b"\r").unwrap_or(text).to_vec();
        let text = self.secrets.masked(&text);
        Ok(Some(Line { text, entry, at: now, bytes: bytes.len() }))
    }

    /// Bytes that are no complete line yet.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// What is left becomes an entry of its own: nothing more will come.
    pub fn flush(&mut self, now: Moment) {
        if !self.pending.is_empty() {
            let bytes = std::mem::take(&mut self.pending);
            self.scanned = 0;
            self.keep(&bytes, self.began, now);
        }
    }

    /// What was written, with its secrets masked already.
    pub fn sent(&mut self, masked: &[u8], now: Moment) -> u32 {
        let (masked, rest) = masked.split_at(masked.len().min(SENT_BYTES_MAX));
        self.transcript.left_out_bytes += rest.len() as u64;
        self.push(What::Sent(Raw::from(masked)), now, Moment::ZERO)
    }

    pub fn mark(&mut self, mark: Mark, now: Moment) -> u32 {
        if mark == Mark::TlsEstablished {
            self.tls = true;
        }
        self.push(What::Mark(mark), now, Moment::ZERO)
    }

    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// From here on, these bytes are masked in what the peer says.
    pub fn hide(&mut self, form: &[u8]) {
        self.secrets.add(form);
    }

    pub fn odd(&mut self, kind: AnomalyKind, entry: u32) {
        if self.transcript.anomalies.len() < ANOMALIES_MAX {
            self.transcript.anomalies.push(Anomaly { kind, entry });
        }
    }

    pub fn into_transcript(self) -> Transcript {
        self.transcript
    }

    fn keep(&mut self, bytes: &[u8], began: Moment, now: Moment) -> u32 {
        if self.kept_bytes + bytes.len() > KEPT_BYTES_MAX || self.transcript.entries.len() >= ENTRIES_MAX {
            self.transcript.left_out_bytes += bytes.len() as u64;
            return self.transcript.entries.len() as u32;
        }
        self.kept_bytes += bytes.len();
        let masked = Raw(self.secrets.masked(bytes));
        self.push(What::Received(masked), now, now.saturating_sub(began))
    }

    fn push(&mut self, what: What, now: Moment, took: Moment) -> u32 {
        let place = self.transcript.entries.len() as u32;
        self.transcript.entries.push(Entry { at_ms: millis(now), took_ms: millis(took), tls: self.tls, what });
        place
    }

    fn judge(&mut self, bytes: &[u8], entry: u32) {
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let without_cr = text.strip_suffix(b"\r");
        if without_cr.is_none() {
            self.odd(AnomalyKind::BareLf, entry);
        }
        let text = without_cr.unwrap_or(text);
        if text.contains(&b'\r') {
            self.odd(AnomalyKind::BareCr, entry);
        }
        if text.contains(&0) {
            self.odd(AnomalyKind::Nul, entry);
        }
        if bytes.len() > self.line_bytes {
            self.odd(AnomalyKind::LineTooLong { bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }, entry);
        }
    }
}

pub(crate) fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Transcript) {
        let mut lines = Lines::new(512);
        let mut found = Vec::new();
        for piece in pieces {
            lines.receive(piece, Moment::ZERO).unwrap();
            while let Some(line) = lines.take(Moment::ZERO).unwrap() {
                found.push(line.text);
            }
        }
        lines.flush(Moment::ZERO);
        (found, lines.into_transcript())
    }

    #[test]
    fn how_the_network_cuts_does_not_show() {
        let whole: &[u8] = b"220 a\r\n250-b\n250 c\rd\r\nrest";
        let (lines, transcript) = read(&[whole]);
        assert_eq!(lines, [&b"220 a"[..], b"250-b", b"250 c\rd"]);
        let kinds: Vec<_> = transcript.anomalies.iter().map(|a| (a.kind.clone(), a.entry)).collect();
        assert_eq!(kinds, [(AnomalyKind::BareLf, 1), (AnomalyKind::BareCr, 2)]);
        for at in 1..whole.len() {
            let (head, tail) = whole.split_at(at);
            assert_eq!(read(&[head, tail]), (lines.clone(), transcript.clone()), "{at}");
        }
    }

    #[test]
    fn a_line_without_end_is_a_limit() {
        let mut lines = Lines::new(512);
        lines.receive(&vec![b'x'; LINE_BYTES_MAX + 1], Moment::ZERO).unwrap();
        assert_eq!(lines.take(Moment::ZERO), Err(Limit::LineBytes));
        assert_eq!(lines.into_transcript().entries.len(), 1);
        let mut lines = Lines::new(512);
        let mut total = 0;
        while lines.receive(&[b'x'; 1000], Moment::ZERO).is_ok() {
            total += 1000;
        }
        assert!(total <= SESSION_BYTES_MAX);
    }

    #[test]
    fn lines_of_one_byte_are_counted_and_not_all_kept() {
        let (lines, transcript) = read(&[&b"\n".repeat(ENTRIES_MAX + 10)]);
        assert_eq!(lines.len(), ENTRIES_MAX + 10);
        assert_eq!((transcript.entries.len(), transcript.left_out_bytes), (ENTRIES_MAX, 10));
    }

    #[test]
    fn a_slow_line_knows_how_long_it_took() {
        let mut lines = Lines::new(512);
        lines.receive(b"22", Moment::from_millis(10)).unwrap();
        assert_eq!(lines.take(Moment::from_millis(10)), Ok(None));
        lines.receive(b"0 x\r\n", Moment::from_millis(70)).unwrap();
        lines.take(Moment::from_millis(70)).unwrap().unwrap();
        let entry = lines.into_transcript().entries.remove(0);
        assert_eq!((entry.at_ms, entry.took_ms), (70, 60));
    }
}
