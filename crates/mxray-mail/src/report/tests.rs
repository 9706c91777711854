//! Reports in all wrappings, whole and damaged.

use std::io::Write;

use proptest::prelude::*;

use super::*;

const XML: &str = "<?xml version=\"1.0\"?>\n<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\"><version>1.0</version><report_metadata><org_name>Receiver &amp; Co</org_name><email>r@example.net</email><report_id>id 1</report_id><date_range><begin>1700000000</begin><end>1700086399</end></date_range></report_metadata><policy_published><domain>example.org</domain><p>reject</p><pct>100</pct></policy_published><record><row><source_ip>192.0.2.25</source_ip><count>7</count><policy_evaluated><disposition>Reject</disposition><dkim>fail</dkim><spf>Pass</spf><reason><type>forwarded</type><comment>x</comment></reason></policy_evaluated></row><identifiers><header_from>example.org</header_from><envelope_from>b.example.org</envelope_from></identifiers><auth_results><dkim><domain>example.org</domain><selector>s1</selector><result>fail</result></dkim><spf><domain>b.example.org</domain><scope>mfrom</scope><result>pass</result></spf></auth_results></record></feedback>";

const JSON: &str = r#"{"organization-name": "Sender", "date-range": {"start-datetime": "2026-01-01T00:00:00Z"}, "contact-info": null, "report-id": "r+1^", "policies": {"policy": {"policy-type": "sts", "policy-string": "version: STSv1", "policy-domain": "Example.ORG", "mx-host": "mx.example.org"}, "summary": {"total-successful-session-count": "5", "total-failure-session-count": 2}, "failure-details": [{"result-type": "certificate-expired", "receiving-mx-hostname": ["mx.example.org"], "failed-session-count": 2}, {"result-type": "starttls-not-supported"}]}}"#;

fn found(bytes: &[u8]) -> Found {
    read(bytes, &Rules::built_in())
}

fn dmarc(bytes: &[u8]) -> Vec<Aggregate> {
    let reports = found(bytes).reports.into_iter();
    reports.filter_map(|report| if let Report::Dmarc(report) = report { Some(*report) } else { None }).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (name, bytes) in members {
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn mailed(kind: &str, bytes: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(bytes);
    format!(
        "From: r@example.net\nSubject: Report\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nhello {{\n--b\nContent-Type: {kind}; name=\"a b.xml\"\nContent-Transfer-Encoding: base64\n\n{body}\n--b--\n"
    )
}

#[test]
fn every_field_is_read() {
    let report = dmarc(XML.as_bytes()).remove(0);
    assert_eq!(report.org_name, "Receiver & Co");
    assert_eq!((report.begin, report.end), (Some(1_700_000_000), Some(1_700_086_399)));
    assert_eq!((report.policy.domain.as_str(), report.policy.p.as_str()), ("example.org", "reject"));
    let row = &report.rows[0];
    assert_eq!(row.source, Source::Address("192.0.2.25".parse().unwrap()));
    assert_eq!((row.count, row.disposition, row.dkim_aligned, row.spf_aligned), (7, Disposition::Reject, false, true));
    assert_eq!(
        (&*row.header_from, &*row.envelope_from, &*row.reasons[0].kind),
        ("example.org", "b.example.org", "forwarded")
    );
    assert_eq!((&*row.dkim[0].selector, &*row.dkim[0].result), ("s1", "fail"));
    assert_eq!((&*row.spf[0].domain, row.spf[0].scope), ("b.example.org", Scope::MailFrom));
    assert!(report.missing.is_empty() && !report.mended);
}

#[test]
fn every_wrapping_is_opened() {
    let gz = gzip(XML.as_bytes());
    let zip = zipped(&[("r.xml", XML.as_bytes()), ("__MACOSX/._r.xml", b"junk"), ("two.xml.gz", &gz)]);
    assert_eq!(dmarc(&gz).len(), 1);
    assert_eq!(dmarc(&zip).len(), 2);
    for (kind, bytes) in
        [("application/gzip", &gz[..]), ("application/octet-stream", &zip), ("text/xml", XML.as_bytes())]
    {
        let mail = mailed(kind, bytes);
        assert!(!dmarc(mail.as_bytes()).is_empty(), "{kind}");
        let forwarded = format!("Subject: Fwd\nContent-Type: message/rfc822\n\n{mail}");
        assert!(!dmarc(forwarded.as_bytes()).is_empty(), "{kind} forwarded");
        let attached = mailed("message/rfc822", mail.as_bytes());
        assert!(!dmarc(attached.as_bytes()).is_empty(), "{kind} attached");
    }
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(XML.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(dmarc(&utf16).len(), 1);
}

#[test]
fn sets_of_characters_signatures_and_counts_that_are_none() {
    let utf16 = |text: &str, mark: bool| {
        let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect::<Vec<u8>>()
    };
    for mark in [true, false] {
        assert_eq!(dmarc(&utf16(XML, mark))[0].rows[0].count, 7, "{mark}");
        assert_eq!(dmarc(mailed("text/xml", &utf16(XML, mark)).as_bytes())[0].rows[0].count, 7, "{mark}");
        assert!(matches!(found(&utf16(JSON, mark)).reports[..], [Report::Tls(_)]), "{mark}");
    }
    let latin = XML.replace("?>", " encoding='ISO-8859-1'?>").replace("Receiver", "Stra\u{1}e");
    let latin: Vec<u8> = latin.bytes().map(|byte| if byte == 1 { 0xdf } else { byte }).collect();
    assert_eq!(dmarc(&latin)[0].org_name, "Straße & Co");
    let entity = format!(
        "0\u{1}\u{3}Content-Type: application/gzip\nContent-Transfer-Encoding: base64\n\n{}",
        data_encoding::BASE64.encode(&gzip(XML.as_bytes()))
    );
    assert_eq!(dmarc(mailed("application/pkcs7-mime; smime-type=signed-data", entity.as_bytes()).as_bytes()).len(), 1);
    // Signed while it was sent: in pieces, whose heads stand within what they carry.
    let mut pieces = vec![0x30, 0x80, 0x24, 0x80];
    let text = entity.strip_prefix("0\u{1}\u{3}").unwrap();
    for piece in text.as_bytes().chunks(200) {
        pieces.extend([4, 0x81, u8::try_from(piece.len()).unwrap()]);
        pieces.extend(piece);
    }
    pieces.extend([0, 0, 0, 0, 0x30, 3, 2, 1, 5]);
    assert_eq!(dmarc(mailed("application/pkcs7-mime; smime-type=signed-data", &pieces).as_bytes()).len(), 1);
    // What came in, saved as one list.
    assert!(matches!(found(format!("[ {JSON},\n{JSON} ]").as_bytes()).reports[..], [Report::Tls(_), Report::Tls(_)]));
    for none in ["[]", "[1]", "[{\"a\": 1}]"] {
        assert!(found(none.as_bytes()).reports.is_empty(), "{none}");
    }
    for count in ["-5", "", "1,234", "18446744073709551615", "99999999999999999999999", "12.0"] {
        let report = dmarc(XML.replace("<count>7<", &format!("<count>{count}<")).as_bytes()).remove(0);
        assert_eq!((report.rows[0].count, report.missing.len()), (0, 1), "{count:?}");
    }
    // A cut one says so, wherever the cut is.
    for end in [XML.find("<record>").unwrap(), XML.find("<spf>").unwrap(), XML.find("</feedback>").unwrap()] {
        assert!(!dmarc(&XML.as_bytes()[..end])[0].missing.is_empty(), "{end}");
    }
}

#[test]
fn one_damaged_report_stops_none_of_the_others() {
    let zip = zipped(&[
        ("bad.xml", b"<feedback><record>"),
        ("no.xml", b"<?xml version=\"1.0\"?><html/>"),
        ("good.xml", XML.as_bytes()),
    ]);
    let found = found(&zip);
    assert_eq!(found.reports.len(), 1);
    assert_eq!(found.troubles.len(), 2);
    assert_eq!(found.troubles[0].what, "bad.xml");
    // Cut in the second record: the first holds.
    let rows = format!("{}{}", XML.trim_end_matches("</feedback>"), "<record><row><source_ip>192.0.2.26</sour");
    let report = dmarc(rows.as_bytes()).remove(0);
    assert_eq!(report.rows.len(), 1);
    assert!(!report.missing.is_empty());
}

#[test]
fn what_is_no_xml_is_mended() {
    let damaged = XML
        .replace("r@example.net", "<r@example.net>")
        .replace("b.example.org</envelope_from>", "b<x.org & y</envelope_from>");
    let report = dmarc(damaged.as_bytes()).remove(0);
    assert_eq!(
        (report.rows.len(), report.email.as_str(), &*report.rows[0].envelope_from),
        (1, "<r@example.net>", "b<x.org & y")
    );
}

#[test]
fn bombs_are_refused() {
    let entities = "<?xml version=\"1.0\"?><!DOCTYPE f [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><feedback>&b;</feedback>";
    assert!(found(entities.as_bytes()).troubles[0].why.contains("document type"));
    let nested = format!("<feedback>{}", "<a>".repeat(100_000));
    assert!(found(nested.as_bytes()).troubles[0].why.contains("deeper"));
    let zeros = gzip(&vec![b' '; 16 << 20]);
    assert!(found(&zeros).troubles[0].why.contains("more than"));
    let zip = zipped(&[("zeros", &vec![b' '; 16 << 20])]);
    assert!(found(&zip).troubles[0].why.contains("more than"));
    let mut deep = XML.as_bytes().to_vec();
    for _ in 0..20 {
        deep = gzip(&deep);
    }
    assert!(found(&deep).troubles[0].why.contains("deeper"));
    assert_eq!(found(b"").troubles.len(), 1);
}

#[test]
fn reports_of_tls_are_read_leniently() {
    let gz = gzip(JSON.as_bytes());
    let mail = mailed("application/tlsrpt+gzip", &gz);
    let Report::Tls(report) = found(mail.as_bytes()).reports.remove(0) else { panic!("no TLS report") };
    assert_eq!(
        (report.organization.as_str(), report.contact.as_str(), report.report_id.as_str()),
        ("Sender", "", "r+1^")
    );
    let policy = &report.policies[0];
    assert_eq!((policy.domain.as_str(), policy.successes, policy.failures), ("example.org", 5, 2));
    assert_eq!((policy.details[0].mx_host.as_str(), policy.details[0].sessions), ("mx.example.org", 2));
    assert_eq!((policy.details[1].kind.as_str(), policy.details[1].sessions), ("starttls-not-supported", 1));
    assert!(found(b"{\"a\": 1}").troubles[0].why.contains("no TLS report"));
    assert!(found(b"{").troubles[0].why.contains("not JSON"));
}

#[test]
fn failure_reports_are_found_in_their_mail() {
    let mail = "From: r@example.net\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nx\n--b\nContent-Type: message/feedback-report\n\nFeedback-Type: auth-failure\nSource-IP: 192.0.2.1\nReported-Domain: example.org\nAuth-Failure: dmarc\n--b\nContent-Type: text/rfc822-headers\n\nFrom: a@example.org\nMessage-ID: <1@example.org>\n--b--\n";
    let Report::Feedback(reading) = found(mail.as_bytes()).reports.remove(0) else { panic!("no feedback") };
    assert_eq!(reading.kind, Kind::AuthFailure);
    let failure = reading.complaint.and_then(|complaint| complaint.auth_failure).unwrap();
    assert_eq!(failure.failure.as_deref(), Some("dmarc"));
    assert_eq!(reading.original.message_id.as_deref(), Some("<1@example.org>"));
}

/// Whole records, halves and rubbish.
fn pieces() -> impl Strategy<Value = Vec<&'static str>> {
    const PIECES: [&str; 34] = [
        "<record>",
        "</record>",
        "<row>",
        "</row>",
        "<source_ip>192.0.2.1</source_ip>",
        "<count>3</count>",
        "<count> 4\n</count>",
        "<count/>",
        "<count></count>",
        "<policy_evaluated><disposition>reject</disposition><dkim>pass</dkim><spf> fail</spf></policy_evaluated>",
        "<policy_evaluated>",
        "</policy_evaluated>",
        "<identifiers><header_from>example.org</header_from></identifiers>",
        "<header_from>a<domain>b</domain>c</header_from>",
        "<header_from>a &amp; b</header_from>",
        "<header_from><![CDATA[x y]]></header_from>",
        "<header_from>x<!-- no -->y</header_from>",
        "<auth_results>",
        "</auth_results>",
        "<dkim>",
        "</dkim>",
        "<spf><domain>b.example</domain><scope>helo</scope><result>none</result></spf>",
        "<domain>d.example</domain>",
        "<ns:selector>s1</ns:selector>",
        "<reason><type>forwarded</type></reason>",
        "<report_id>1</report_id>",
        "<p>none</p>",
        "</p>",
        "<unknown>x</unknown>",
        "<report_metadata>",
        "</report_metadata>",
        " \n ",
        "text",
        "a & b < c",
    ];
    proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..40)
}

proptest! {
    /// An attribute sends each element to the parser: what is plain has to read the same without it.
    #[test]
    fn plain_elements_read_as_the_parser_reads_them(pieces in pieces()) {
        let plain = format!("<feedback>{}</feedback>", pieces.concat());
        let mut marked = String::new();
        let mut rest = plain.as_str();
        while let Some((before, behind)) = rest.split_once('<') {
            let end = behind.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(0);
            let is_plain = end > 0 && behind[end..].starts_with('>');
            marked.extend([before, "<", &behind[..end], if is_plain { " a=\"\"" } else { "" }]);
            rest = &behind[end..];
        }
        marked.push_str(rest);
        prop_assert_eq!(aggregate::read(plain.as_bytes()), aggregate::read(marked.as_bytes()));
    }
}
