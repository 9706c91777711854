//! Targets for what is read from files and certificates: chains as servers present them, PEM files, messages to send.

use std::io::Read as _;

use bolero::check;
use data_encoding::{BASE64, HEXLOWER};
use mxray_auth::{Stores, chain, chain_file, key_file};
use mxray_host::bystanders;
use mxray_host::maillog::{Packing, unpacked};
use mxray_host::processes::at_once::{btf::Types, program::Layout};
use mxray_mail::{Stamp, complete, is_message};

/// A chain that is right, so that mutations reach what is behind the outer layers.
const PEM: &str = include_str!("../../crates/mxray-auth/fixtures/chain/fitting.pem");
const ABOVE: &str = include_str!("../../crates/mxray-auth/fixtures/chain/between.pem");
/// Types of a small kernel with all that is looked for.
const TYPES: &str = include_str!("../../crates/mxray-host/fixtures/kernel-types.hex");

fn ders(pem: &str) -> Vec<Vec<u8>> {
    let blocks = pem.split("-----BEGIN CERTIFICATE-----").skip(1);
    let body = |block: &str| block.split("-----END").next().unwrap().split_whitespace().collect::<String>();
    blocks.map(|block| BASE64.decode(body(block).as_bytes()).unwrap()).collect()
}

/// Each group of three bytes changes one: a place and a value.
fn changed(bytes: &mut [u8], input: &[u8]) {
    for change in input.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % bytes.len();
        bytes[place] = change[2];
    }
}

#[test]
fn presented_chain() {
    let honest: Vec<Vec<u8>> = [ders(PEM), ders(ABOVE)].concat();
    check!().for_each(|input: &[u8]| {
        let (choice, rest) = input.split_first().map_or((0, input), |(choice, rest)| (*choice, rest));
        let mut presented = honest.clone();
        let which = usize::from(choice) % presented.len();
        changed(&mut presented[which], rest);
        if choice & 0x40 != 0 {
            presented.push(rest.to_vec());
        }
        if choice & 0x80 != 0 {
            presented.reverse();
        }
        let seen = chain(&presented, Some("mail.example.org"), &Stores::new(), 1_800_000_000);
        assert_eq!(seen.chain.len(), presented.len());
    });
}

#[test]
fn pem_files() {
    check!().for_each(|input: &[u8]| {
        let mut text = PEM.as_bytes().to_vec();
        changed(&mut text, input);
        chain_file("chain.pem", &text);
        key_file("key.pem", text);
        chain_file("chain.pem", input);
        key_file("key.pem", input.to_vec());
    });
}

#[test]
fn given_message() {
    let stamp = Stamp { date: "Sat, 1 Jan 2000 00:00:00 +0000".into(), message_id: "a@b.example".into() };
    check!().for_each(|input: &[u8]| {
        is_message(input);
        let Ok(completed) = complete(input, &[], &[], &stamp, false) else { return };
        // What was given stands behind what was added; but for the first line of a mailbox file, and an end that closes it.
        let line = if input.starts_with(b"From ") { input.iter().position(|b| *b == b'\n').map_or(input.len(), |at| at + 1) } else { 0 };
        let given = &input[line..];
        assert!(completed.bytes.windows(given.len().max(1)).any(|piece| piece == given) || given.is_empty());
    });
}

/// What the readers look for, so that inputs come past the first line.
const PIECES: &[&str] = &[
    "frontend x\n", " bind :25-30,[::]:25 v4v6\n", ".if x\n", "mail {\n server { listen ", "stream { include x; ", "_by_lua_block {", "}\n", ";\n",
    "$inet_socket_port = [", "10024", "@listen_sockets = qw(", "=pod\n", "=cut\n", "smtp-listener 0/0:25\n", "kumo.start_esmtp_listener {", "listen = '",
    "--[[", "]]", "smtp stream tcp nowait root /x x\n", "service x\n{\n port = 25\n", "services:\n  a:\n    ports:\n      - ", "\"${A:-25}:25\"\n",
    "&a [*a, ", "<<: *a\n", "[Container]\nPublishPort=", "127.0.0.1:25:25/udp\n", "HTTP/1.1 200 OK\r\n", "Transfer-Encoding: chunked\r\n\r\n", "5\r\n",
    "[{\"Id\":\"a\",\"Ports\":[{\"PublicPort\":25}]}]", "A=\"${B}\"\n", "if x; then\n", "'", "\"", "\\\n", "#",
];

#[test]
fn bystanders_files() {
    check!().for_each(|input: &[u8]| {
        let mut text = Vec::new();
        for byte in input {
            // Each byte from 0xb0 on stands for a piece.
            match usize::from(*byte).checked_sub(0xb0).and_then(|index| PIECES.get(index)) {
                Some(piece) => text.extend(piece.bytes()),
                None => text.push(*byte),
            }
        }
        bystanders::understand(&text);
    });
}

#[test]
fn packed_logs() {
    // Small archives that are whole, so that mutations reach what is behind their heads.
    const GZIP: &str = "H4sIAAAAAAACA8vIVMgAIS4AQyEywwkAAAA=";
    const BZIP2: &str = "QlpoOTFBWSZTWd+NwC4AAALRAAAQQAAAYCAAMM00GMjSDeLuSKcKEhvxuAXA";
    const XZ: &str = "/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAIaGkgaGkgaGkKAAAAAIZOKwi2BFQSAAEhCWwYxdUftvN9AQAAAAAEWVo=";
    const ZSTD: &str = "KLUv/QRYSQAAaGkgaGkgaGkKXb2bXg==";
    let heads: Vec<Vec<u8>> =
        [GZIP, BZIP2, XZ, ZSTD].iter().filter_map(|text| BASE64.decode(text.as_bytes()).ok()).collect();
    check!().for_each(|input: &[u8]| {
        let (choice, rest) = input.split_first().map_or((0, input), |(choice, rest)| (*choice, rest));
        let mut bytes = heads.get(usize::from(choice) % (heads.len() + 1)).cloned().unwrap_or_else(|| rest.to_vec());
        if !bytes.is_empty() {
            changed(&mut bytes, rest);
        }
        let mut room = vec![0; 4096];
        let Ok(mut stream) = unpacked(Packing::of(&bytes), std::io::Cursor::new(bytes)) else { return };
        // Sixteen megabytes are enough to see that it goes on.
        for _ in 0..4096 {
            match stream.read(&mut room) {
                Ok(1..) => {}
                _ => return,
            }
        }
    });
}

#[test]
fn kernel_types() {
    let honest = HEXLOWER.decode(TYPES.split_whitespace().collect::<String>().as_bytes()).unwrap();
    // A jump leads forward, and no further than to the end.
    let check_layout = |bytes: &[u8]| {
        let Some(layout) = Types::new(bytes).as_ref().and_then(Layout::new) else { return false };
        let program = layout.program();
        let jumps = program.iter().enumerate().filter(|(_, one)| matches!(one.code, 0x15 | 0x55 | 0x5d));
        for (place, jump) in jumps {
            assert!(usize::try_from(jump.offset).is_ok_and(|over| place + 1 + over < program.len()));
        }
        true
    };
    assert!(check_layout(&honest));
    check!().for_each(|input: &[u8]| {
        let mut bytes = honest.clone();
        changed(&mut bytes, input);
        check_layout(&bytes);
        check_layout(input);
    });
}
