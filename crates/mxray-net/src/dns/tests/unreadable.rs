//! Messages with something in them that cannot be read: what stands beside it counts.

use super::*;

/// A record byte by byte, its owner a pointer to the question's name.
fn raw(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = vec![0xc0, 12];
    record.extend(kind.to_be_bytes());
    record.extend([0, 1, 0, 0, 0, 60]);
    record.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    record.extend(data);
    record
}

/// An answer of these records, and of others behind them.
fn packet(asked: &[u8], code: u8, answers: &[Vec<u8>], authorities: &[Vec<u8>], additionals: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = reply(asked).to_vec().unwrap();
    packet[3] = packet[3] & 0xf0 | code;
    for (place, section) in [answers, authorities, additionals].into_iter().enumerate() {
        packet[7 + 2 * place] = u8::try_from(section.len()).unwrap();
        section.iter().for_each(|record| packet.extend(record));
    }
    packet
}

fn answering(make: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Server {
    server(Box::new(move |asked| vec![make(asked)]), None)
}

const TXT_KIND: u16 = 16;
const MX_KIND: u16 = 15;
const A_KIND: u16 = 1;
const CNAME_KIND: u16 = 5;
const OPT_KIND: u16 = 41;

#[test]
fn a_record_without_data_costs_itself_alone() {
    for (bad, shown) in [(&b""[..], "\\# 0"), (b"\x09short", "\\# 6 0973686f7274")] {
        let server = answering(move |asked| {
            packet(asked, 0, &[raw(TXT_KIND, bad), raw(TXT_KIND, b"\x0bv=spf1 -all")], &[], &[])
        });
        let lookup = ask_one(&server, "TXT", "x.example");
        let found: Vec<RecordData> = lookup.found().value().unwrap().iter().map(|record| record.data.clone()).collect();
        assert_eq!(found, [RecordData::Txt { strings: vec![(&b"v=spf1 -all"[..]).into()] }]);
        let other = RecordData::Other { kind: "TYPE16".to_owned(), text: shown.to_owned() };
        assert_eq!(lookup.records.iter().map(|record| &record.data).collect::<Vec<_>>(), [&found[0], &other]);
        let one = &lookup.tries[0];
        assert_eq!((one.unreadable, one.left_out, one.trouble), (1, 0, None));
    }
}

#[test]
fn where_nothing_of_the_kind_can_be_read_it_is_not_known() {
    let server = answering(|asked| packet(asked, 0, &[raw(MX_KIND, b"\0\x0a")], &[], &[]));
    let lookup = ask_one(&server, "MX", "x.example");
    assert!(matches!(lookup.outcome, DnsOutcome::NoAnswer { .. }), "{lookup:?}");
    assert_eq!(lookup.tries[0].trouble, Some(DnsTrouble::Unreadable));
    assert!(lookup.tries[0].rcode.blind().unwrap().why().contains("MX record has 2 bytes"), "{lookup:?}");
    assert!(lookup.found().blind().is_some());
    // Nor where an alias leads to.
    let server = answering(|asked| packet(asked, 0, &[raw(CNAME_KIND, b"")], &[], &[]));
    assert!(ask_one(&server, "MX", "x.example").found().blind().is_some());
}

#[test]
fn what_stands_behind_the_answer_does_not_spoil_it() {
    let good = || raw(A_KIND, &[192, 0, 2, 1]);
    for (authorities, additionals) in [
        // A SOA record of two bytes, an option that is longer than its record, a name that leads nowhere.
        (vec![raw(6, b"\0\0")], Vec::new()),
        (Vec::new(), vec![[&[0, 0, OPT_KIND as u8, 4, 208, 0, 0, 0, 0, 0, 5][..], &[0, 15, 0, 9, 1]].concat()]),
        (vec![vec![0xff; 12]], Vec::new()),
        (vec![raw(OPT_KIND, b"")], vec![raw(A_KIND, b"\x01")]),
    ] {
        let server = answering(move |asked| packet(asked, 0, &[good()], &authorities, &additionals));
        let lookup = ask_one(&server, "A", "x.example");
        assert_eq!(addresses(&lookup), ["192.0.2.1"]);
    }
}

#[test]
fn that_there_is_nothing_has_to_be_said_whole() {
    let soa = || raw(6, b"\0\0");
    let server = answering(move |asked| packet(asked, 3, &[], &[soa()], &[]));
    assert_eq!(ask_one(&server, "A", "x.example").outcome, DnsOutcome::NoSuchName);
    let server = answering(|asked| packet(asked, 3, &[], &[vec![0xff; 12]], &[]));
    assert!(ask_one(&server, "A", "x.example").found().blind().is_some());
    // More answers were announced than came.
    let server = answering(|asked| {
        let mut packet = packet(asked, 0, &[raw(A_KIND, &[192, 0, 2, 1])], &[], &[]);
        packet[7] = 2;
        packet
    });
    assert!(ask_one(&server, "A", "x.example").found().blind().is_some());
}

#[test]
fn an_answer_that_was_cut_in_the_middle_of_a_record_is_asked_for_over_tcp() {
    let server = server(
        Box::new(|asked| {
            let mut packet = packet(asked, 0, &[raw(TXT_KIND, b"\x04half")], &[], &[]);
            packet[2] |= 2;
            packet.truncate(packet.len() - 3);
            vec![packet]
        }),
        Some(Box::new(|stream, asked| send(stream, &packet(asked, 0, &[raw(TXT_KIND, b"\x05whole")], &[], &[])))),
    );
    let lookup = ask_one(&server, "TXT", "x.example");
    assert_eq!(lookup.outcome, DnsOutcome::Found, "{lookup:?}");
    assert_eq!(lookup.tries.iter().map(|one| one.transport).collect::<Vec<_>>(), [Transport::Udp, Transport::Tcp]);
}

/// Old servers send the header of what they do not understand back, its counts included.
#[test]
fn a_header_alone_is_a_refusal_and_the_question_is_asked_without_edns() {
    let server = answering(|asked| {
        if Message::from_vec(asked).unwrap().edns.is_none() {
            return with(asked, &[("x.example", a(1))]);
        }
        let mut head = asked[..12].to_vec();
        (head[2], head[3]) = (0x80, 1);
        head
    });
    assert_eq!(addresses(&ask_one(&server, "A", "x.example")), ["192.0.2.1"]);
    let server = answering(|asked| {
        let mut head = asked[..12].to_vec();
        (head[2], head[3]) = (0x80, 3);
        head
    });
    assert!(ask_one(&server, "A", "x.example").found().blind().is_some(), "nobody is denied by a header");
}

#[test]
fn another_operation_is_no_answer() {
    let server = answering(|asked| {
        let mut packet = with(asked, &[("x.example", a(1))]);
        packet[2] |= 5 << 3;
        packet
    });
    let lookup = ask_one(&server, "A", "x.example");
    assert!(matches!(lookup.outcome, DnsOutcome::NoAnswer { .. }), "{lookup:?}");
    assert!(lookup.tries[0].strays > 0);
}

#[test]
fn the_code_is_told_although_its_options_cannot_be_read() {
    // BADVERS is 16: the upper bits stand in the OPT record.
    let server = answering(|asked| {
        let opt = [&[0, 0, OPT_KIND as u8, 4, 208, 1, 0, 0, 0, 0, 3][..], &[0, 15, 0]].concat();
        packet(asked, 0, &[], &[], &[opt])
    });
    let lookup = ask_one(&server, "A", "x.example");
    assert_eq!(lookup.outcome, DnsOutcome::Refused { rcode: "BADVERS".to_owned() }, "{lookup:?}");
}

mod beside {
    use super::super::super::message::{self, Question};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the record is, the one beside it is read.
        #[test]
        fn any_record_costs_at_most_itself(kind in any::<u16>(), data in proptest::collection::vec(any::<u8>(), 0..40), first in any::<bool>()) {
            let question = Question::new(name("x.example"), RecordType::MX);
            let asked = question.bytes(7).unwrap();
            let mut records = vec![raw(MX_KIND, b"\0\x0a\xc0\x0c")];
            records.insert(usize::from(first), raw(kind, &data));
            let packet = packet(&asked, 0, &records, &[], &[]);
            let message::Packet::Answer(answer) = message::read(&packet, 7, &question) else { panic!("{packet:?}") };
            prop_assert!(kind == CNAME_KIND || answer.found, "{:?}", answer);
        }
    }
}
