//! Records that a message has more than once.

use super::*;

/// RFC 2181 section 5: an RRset has no duplicates, in whatever case their owner is written and whatever their TTLs are.
#[test]
fn a_record_that_is_sent_twice_is_one() {
    let server = server(
        Box::new(|asked| {
            let text = |text: &str| RData::TXT(TXT::new(vec![text.to_owned()]));
            let mut message = reply(asked);
            for (owner, ttl, data) in [("x.example", 300, "a"), ("X.Example", 60, "a"), ("x.example", 300, "b")] {
                message.add_answer(Record::from_rdata(name(owner), ttl, text(data)));
            }
            vec![message.to_vec().unwrap()]
        }),
        None,
    );
    let lookup = ask_one(&server, "TXT", "x.example");
    let texts: Vec<String> = lookup.records.iter().map(|record| format!("{:?}", record.data)).collect();
    assert_eq!((texts.len(), lookup.tries[0].left_out), (2, 0), "{texts:?}");
}
