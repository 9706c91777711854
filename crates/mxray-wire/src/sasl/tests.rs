//! The examples that the RFCs print.

use super::*;

fn login(user: &str, secret: &str) -> Login {
    Login::new(user, Secret::new(secret))
}

fn text(secret: &Secret) -> String {
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

fn exchange(mechanism: Mechanism, user: &str, secret: &str, nonce: &str) -> Exchange {
    Exchange::new(mechanism, &login(user, secret), nonce, None).unwrap()
}

#[test]
fn scram_sha_1_of_rfc_5802() {
    let mut exchange = exchange(Mechanism::ScramSha1, "user", "pencil", "fyko+d2lbbFgONRv9qkxdawL");
    assert_eq!(text(&exchange.initial().unwrap()), "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    let answer = exchange.respond(b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096").unwrap();
    assert_eq!(text(&answer), "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    assert_eq!(exchange.server_proved_itself(), Some(false));
    assert_eq!(exchange.respond(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=").unwrap(), Secret::default());
    assert_eq!(exchange.server_proved_itself(), Some(true));
    assert_eq!(exchange.respond(b"").unwrap_err(), Trouble::TooMany);
}

#[test]
fn scram_sha_256_of_rfc_7677() {
    let mut exchange = exchange(Mechanism::ScramSha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO");
    exchange.initial().unwrap();
    let answer = exchange
        .respond(b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
        .unwrap();
    assert_eq!(
        text(&answer),
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    // In IMAP the last message may come with success.
    exchange.finish(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
    assert_eq!(exchange.server_proved_itself(), Some(true));
}

#[test]
fn a_server_that_lies_is_told_from_one_that_refuses() {
    let begun = || {
        let mut exchange = exchange(Mechanism::ScramSha1, "user", "pencil", "abc");
        exchange.initial().unwrap();
        exchange.respond(b"r=abcd,s=QSXCR+Q6sek8bf92,i=10").unwrap();
        exchange
    };
    assert_eq!(begun().respond(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=").unwrap_err(), Trouble::WrongServerSignature);
    let mut refused = begun();
    refused.respond(b"e=invalid-proof").unwrap();
    assert_eq!((refused.server_said(), refused.server_proved_itself()), (Some("invalid-proof"), Some(false)));
    for (challenge, trouble) in [
        (&b"r=xyz,s=QQ==,i=1"[..], Trouble::BadChallenge("the nonce is not a continuation of ours")),
        (b"r=abc,s=QQ==,i=1", Trouble::BadChallenge("the nonce is not a continuation of ours")),
        (b"r=abcd,s=,i=1", Trouble::BadChallenge("no salt")),
        (b"r=abcd,s=QQ==,i=0", Trouble::BadChallenge("a count of zero")),
        (b"r=abcd,s=QQ==,i=4000000000", Trouble::TooExpensive(4_000_000_000)),
        (b"m=x,r=abcd,s=QQ==,i=1", Trouble::BadChallenge("an extension that has to be understood")),
        (b"\xff", Trouble::BadChallenge("not UTF-8")),
    ] {
        let mut exchange = exchange(Mechanism::ScramSha1, "user", "pencil", "abc");
        exchange.initial().unwrap();
        assert_eq!(exchange.respond(challenge).unwrap_err(), trouble);
    }
}

#[test]
fn channel_binding_is_part_of_the_proof() {
    let binding = Binding { kind: "tls-exporter".into(), data: vec![1, 2, 3] };
    let login = login("user", "pencil");
    let mut exchange = Exchange::new(Mechanism::ScramSha256Plus, &login, "abc", Some(&binding)).unwrap();
    assert_eq!(text(&exchange.initial().unwrap()), "p=tls-exporter,,n=user,r=abc");
    let answer = text(&exchange.respond(b"r=abcd,s=QQ==,i=1").unwrap());
    let bound = [&b"p=tls-exporter,,"[..], &[1, 2, 3]].concat();
    assert!(answer.starts_with(&format!("c={},r=abcd,p=", base64::encode(&bound))), "{answer}");
    assert!(Exchange::new(Mechanism::ScramSha256Plus, &login, "abc", None).is_err());
}

#[test]
fn cram_md5_of_rfc_2195() {
    let mut exchange = exchange(Mechanism::CramMd5, "tim", "tanstaaftanstaaf", "");
    assert_eq!(exchange.initial(), None);
    let answer = exchange.respond(b"<1896.697170952@postoffice.reston.mci.net>").unwrap();
    assert_eq!(text(&answer), "tim b913a602c7eda7a495b4e6e7334d3890");
}

#[test]
fn the_plain_ones() {
    assert_eq!(text(&exchange(Mechanism::Plain, "tim", "x y", "").initial().unwrap()), "\0tim\0x y");
    let mut login = exchange(Mechanism::Login, "tim", "x", "");
    assert_eq!(text(&login.respond(b"Username:").unwrap()), "tim");
    assert_eq!(text(&login.respond(b"anything").unwrap()), "x");
    assert_eq!(login.respond(b"more").unwrap_err(), Trouble::TooMany);
    // Without an initial response the first challenge is empty.
    let mut late = exchange(Mechanism::Plain, "tim", "x", "");
    assert_eq!(text(&late.respond(b"").unwrap()), "\0tim\0x");
}

#[test]
fn oauth_errors_are_acknowledged_and_kept() {
    let mut exchange = exchange(Mechanism::Oauthbearer, "user@example.com", "vF9dft4qmT", "");
    assert_eq!(text(&exchange.initial().unwrap()), "n,a=user@example.com,\u{1}auth=Bearer vF9dft4qmT\u{1}\u{1}");
    assert_eq!(text(&exchange.respond(br#"{"status":"invalid_token","scope":"mail"}"#).unwrap()), "\u{1}");
    assert_eq!(exchange.server_said(), Some(r#"{"status":"invalid_token","scope":"mail"}"#));
}

#[test]
fn names_are_known_in_any_case() {
    assert_eq!(Mechanism::named("scram-sha-256"), Some(Mechanism::ScramSha256));
    assert_eq!(Mechanism::named("NTLM"), None);
    assert_eq!(Mechanism::Xoauth2.name(), "XOAUTH2");
}
