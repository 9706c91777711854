//! Targets for what mxray-net reads without a connection: answers of name servers and of web servers.
//!
//! An input stands behind the head and the question of an honest answer, so that it is read as records; each byte from
//! 0xb0 on stands for a piece of one.

use bolero::check;
use mxray_net::{reads_as_answer, reads_as_page};

/// Bytes up to here are themselves, the ones behind are pieces.
const PIECES_FROM: u8 = 0xb0;

/// Owner names (a pointer to the question, one to itself, one forwards), types with class and TTL, lengths, data.
#[rustfmt::skip]
const PIECES: &[&[u8]] = &[
    b"\xc0\x0c", b"\xc0\x1c", b"\xff\xff", b"\x00", b"\x04mail", b"\x01a\xc0\x0c",
    b"\x00\x01\x00\x01\x00\x00\x00\x3c", b"\x00\x05\x00\x01\x00\x00\x00\x3c", b"\x00\x0f\x00\x01\x00\x00\x00\x3c",
    b"\x00\x10\x00\x01\x00\x00\x00\x3c", b"\x00\x1c\x00\x01\x00\x00\x00\x3c", b"\x00\x34\x00\x01\x00\x00\x00\x3c",
    b"\x00\x06\x00\x01\x00\x00\x00\x3c", b"\x00\x2e\x00\x01\x00\x00\x00\x3c", b"\x00\x29\x04\xd0\x00\x00\x80\x00",
    b"\x00\x04\xc0\x00\x02\x01", b"\x00\x02\xc0\x0c", b"\x00\x04\x00\x0a\xc0\x0c", b"\x00\x05\x04text", b"\x00\x00",
    b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x05\x00\x0f\x00\x09\x01", b"\x00\x01\x01",
    b"\x00\x06\x00\x0f\x00\x02\x00\x06", b"\x00\x23\x03\x01\x01", b"\xff\xff",
];

#[test]
fn dns_answer() {
    check!().for_each(|input: &[u8]| {
        let (counts, rest) = input.split_at(input.len().min(3));
        let count = |place: usize| counts.get(place).copied().unwrap_or(1) % 8;
        let mut packet = vec![0, 7, 0x81, 0x80, 0, 1, 0, count(0), 0, count(1), 0, count(2)];
        packet.extend(b"\x01x\x07example\x00\x00\x0f\x00\x01");
        for byte in rest {
            match byte.checked_sub(PIECES_FROM).and_then(|place| PIECES.get(usize::from(place))) {
                Some(piece) => packet.extend_from_slice(piece),
                None => packet.push(*byte),
            }
        }
        reads_as_answer(&packet, "MX", "x.example");
        reads_as_answer(input, "TXT", "x.example");
    });
}

/// A record that is nothing beside one that is: whatever its type and its data, the answer is one.
#[test]
fn dns_record_beside() {
    check!().for_each(|input: &[u8]| {
        let kind = [0, 1].map(|place| input.get(place).copied().unwrap_or_default());
        let data = input.get(2..).unwrap_or_default();
        let mut record = b"\xc0\x0c".to_vec();
        record.extend(kind);
        record.extend(b"\x00\x01\x00\x00\x00\x3c");
        record.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        record.extend(data);
        let honest = b"\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x04\x00\x0a\xc0\x0c";
        for behind in [false, true] {
            let mut packet =
                b"\x00\x07\x81\x80\x00\x01\x00\x02\x00\x00\x00\x00\x01x\x07example\x00\x00\x0f\x00\x01".to_vec();
            let records: [&[u8]; 2] = if behind { [honest, &record] } else { [&record, honest] };
            records.iter().for_each(|record| packet.extend_from_slice(record));
            assert!(reads_as_answer(&packet, "MX", "x.example"), "{record:?}");
        }
    });
}

/// Heads, lengths and chunks as web servers write them.
#[rustfmt::skip]
const WEB: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n", b"\n", b"\r\n\r\n",
    b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"transfer-encoding: gzip, chunked\r\n",
    b"Content-Type: text/plain\r\n", b"Content-Encoding: gzip\r\n", b"Location: /\r\n", b"0\r\n\r\n", b"5\r\nabcde\r\n",
    b"5;x=\"y\"\r\n", b"10000", b"ffffffffffffffff\r\n", b"-1", b"4, 4\r\n", b": ", b"X: y\r\n",
];

#[test]
fn web_answer() {
    check!().for_each(|input: &[u8]| {
        let (piece, rest) = input.split_first().unwrap_or((&1, &[]));
        let mut bytes = Vec::new();
        for byte in rest {
            match byte.checked_sub(PIECES_FROM).and_then(|place| WEB.get(usize::from(place))) {
                Some(piece) => bytes.extend_from_slice(piece),
                None => bytes.push(*byte),
            }
        }
        let whole = reads_as_page(&bytes, bytes.len());
        assert_eq!(reads_as_page(&bytes, usize::from(*piece)), whole, "the same however it comes");
    });
}
