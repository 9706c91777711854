//! DNSSEC over zones that BIND signs and serves on loopback: our verdict with its reason, beside those of `delv` and of
//! hickory.

mod hickory;

use crate::{Evaluations, Resolver};
use mxray_auth::ask::Kind;
use mxray_auth::dnssec::{TrustAnchors, Validation};
use mxray_model::evidence::published::SecurityState::{self, Bogus, Insecure, Secure};
use mxray_model::evidence::published::{SecurityChain, SecurityReason};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One zone below `example`: how it is signed, and what is done to it afterwards.
struct Case {
    zone: &'static str,
    algorithm: &'static str,
    sign: &'static [&'static str],
    after: After,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    /// The parent has no DS records for it.
    Unsigned,
    /// The parent names another key.
    WrongDs,
    /// DS records, and a zone that is not signed.
    NoKeys,
    /// The signature of `www A` is taken out.
    Stripped,
    /// `www A` says something else than what was signed.
    Forged,
    /// No NSEC records below the apex.
    NoProofs,
}

const NSEC3: &[&str] = &["-3", "aabb", "-H", "0"];
const CASES: &[Case] = &[
    Case { zone: "good", algorithm: "ECDSAP256SHA256", sign: &[], after: After::Nothing },
    Case { zone: "hashed", algorithm: "ECDSAP256SHA256", sign: NSEC3, after: After::Nothing },
    Case { zone: "optout", algorithm: "ECDSAP256SHA256", sign: &["-3", "-", "-H", "0", "-A"], after: After::Nothing },
    Case { zone: "iterated", algorithm: "ECDSAP256SHA256", sign: &["-3", "aa", "-H", "120"], after: After::Nothing },
    Case { zone: "rsa256", algorithm: "RSASHA256", sign: &[], after: After::Nothing },
    Case { zone: "rsa512", algorithm: "RSASHA512", sign: &[], after: After::Nothing },
    Case { zone: "rsa1", algorithm: "NSEC3RSASHA1", sign: &[], after: After::Nothing },
    Case { zone: "p384", algorithm: "ECDSAP384SHA384", sign: &[], after: After::Nothing },
    Case { zone: "ed25519", algorithm: "ED25519", sign: &[], after: After::Nothing },
    Case { zone: "ed448", algorithm: "ED448", sign: &[], after: After::Nothing },
    Case {
        zone: "expired",
        algorithm: "ED25519",
        sign: &["-s", "now-3456000", "-e", "now-432000"],
        after: After::Nothing,
    },
    Case {
        zone: "future",
        algorithm: "ED25519",
        sign: &["-s", "now+432000", "-e", "now+3456000"],
        after: After::Nothing,
    },
    Case { zone: "unsigned", algorithm: "", sign: &[], after: After::Unsigned },
    Case { zone: "wrongds", algorithm: "ED25519", sign: &[], after: After::WrongDs },
    Case { zone: "nokeys", algorithm: "ED25519", sign: &[], after: After::NoKeys },
    Case { zone: "stripped", algorithm: "ED25519", sign: &[], after: After::Stripped },
    Case { zone: "forged", algorithm: "ED25519", sign: &[], after: After::Forged },
    Case { zone: "noproofs", algorithm: "ED25519", sign: &[], after: After::NoProofs },
];

const RECORDS: &str = "\
@ 60 SOA ns hostmaster 1 3600 600 86400 60
@ 60 NS ns
ns 60 A 127.0.0.1
@ 60 MX 10 www
@ 60 TXT \"Text With CAPITALS\"
www 60 A 192.0.2.1
www 60 A 192.0.2.2
deep.empty 60 TXT \"below an empty name\"
*.wild 60 A 192.0.2.9
alias 60 CNAME www
far 60 CNAME www.hashed.example.
lost 60 CNAME www.unsigned.example.
mixed 60 MX 10 WWW.Good.Example.
branch 60 DNAME other
host.other 60 A 192.0.2.7
island 60 NS ns.island
ns.island 60 A 127.0.0.1
";

struct World {
    dir: PathBuf,
    named: Option<Child>,
    server: SocketAddr,
    anchor: String,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(named) = &mut self.named {
            let _ = named.kill();
            let _ = named.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn tool(dir: &Path, program: &str, arguments: &[&str]) -> Result<String, String> {
    let done = Command::new(program).current_dir(dir).args(arguments).stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    if !done.status.success() {
        return Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr)));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// Writes and signs one zone, and says what its parent has to say of it.
fn sign(dir: &Path, name: &str, records: &str, algorithm: &str, arguments: &[&str]) -> Result<String, String> {
    let dir = dir.join(if name == "." { "root" } else { name });
    fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    if algorithm.is_empty() {
        fs::write(dir.join("served"), records).map_err(|error| error.to_string())?;
        return Ok(String::new());
    }
    let bits: &[&str] = if algorithm.contains("RSA") { &["-b", "2048"] } else { &[] };
    let key = tool(&dir, "dnssec-keygen", &[&["-q", "-a", algorithm, "-f", "KSK"], bits, &[name]].concat())?;
    let public = fs::read_to_string(dir.join(format!("{key}.key"))).map_err(|error| error.to_string())?;
    fs::write(dir.join("zone"), format!("{records}{public}")).map_err(|error| error.to_string())?;
    let fixed = ["-q", "-z", "-P", "-O", "full", "-o", name, "-f", "served"];
    tool(&dir, "dnssec-signzone", &[&fixed, arguments, &["zone", &key]].concat())?;
    tool(&dir, "dnssec-dsfromkey", &["-2", &key])
}

fn below(dir: &Path, case: &Case) -> Result<String, String> {
    let name = format!("{}.example", case.zone);
    let mut ds = sign(dir, &name, RECORDS, case.algorithm, case.sign)?;
    let served = dir.join(&name).join("served");
    let text = fs::read_to_string(&served).map_err(|error| error.to_string())?;
    let changed = match case.after {
        After::Nothing | After::Unsigned => text,
        After::NoKeys => RECORDS.to_owned(),
        After::Forged => text.replace("192.0.2.1\n", "192.0.2.66\n"),
        After::WrongDs => {
            let other = dir.join("other");
            fs::create_dir_all(&other).map_err(|error| error.to_string())?;
            let key = tool(&other, "dnssec-keygen", &["-q", "-a", "ED25519", "-f", "KSK", &name])?;
            ds = tool(&other, "dnssec-dsfromkey", &["-2", &key])?;
            text
        }
        After::Stripped => without(&text, &["RRSIG", "A"]),
        // Without those of the apex, named takes the zone for one that is not signed.
        After::NoProofs => {
            let apex = format!("{name}.");
            let is_kept = |line: &&str| line.starts_with(&apex) || !line.contains("NSEC");
            text.lines().filter(is_kept).fold(String::new(), |text, line| text + line + "\n")
        }
    };
    fs::write(&served, changed).map_err(|error| error.to_string())?;
    Ok(ds)
}

/// Without the records of this type, or the signatures of it.
fn without(text: &str, kind: &[&str]) -> String {
    let is_it = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().skip(3).take(kind.len()).collect();
        words != kind
    };
    text.lines().filter(is_it).fold(String::new(), |text, line| text + line + "\n")
}

fn world() -> Result<World, String> {
    for program in ["dnssec-keygen", "dnssec-signzone", "dnssec-dsfromkey"] {
        tool(Path::new("/"), program, &["-V"])?;
    }
    let dir = std::env::temp_dir().join(format!("mxray-dnssec-{}", std::process::id()));
    let io = |error: std::io::Error| error.to_string();
    fs::create_dir_all(&dir).map_err(io)?;
    // A port of the kernel's choice, which is free again when named takes it.
    let server = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(io)?;
    let mut world = World { dir, named: None, server, anchor: String::new() };
    let dir = world.dir.clone();
    let signed: Vec<Result<String, String>> = std::thread::scope(|scope| {
        let dir = &dir;
        let threads: Vec<_> = CASES.iter().map(|case| scope.spawn(move || below(dir, case))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut top = RECORDS.lines().take(3).fold(String::new(), |text, line| text + line + "\n");
    let root = top.replace(" ns", " ns.example.") + "example. 60 NS ns.example.\nns.example. 60 A 127.0.0.1\n";
    let root =
        root.lines().filter(|line| !line.starts_with("ns ")).fold(String::new(), |text, line| text + line + "\n");
    for (case, ds) in CASES.iter().zip(signed) {
        let ds = ds?;
        top.push_str(&format!("{0} 60 NS ns.{0}\nns.{0} 60 A 127.0.0.1\n", case.zone));
        if case.after != After::Unsigned {
            top.push_str(&format!("{ds}\n"));
        }
    }
    let ds = sign(&dir, "example", &top, "ECDSAP256SHA256", &[])?;
    let root_ds = sign(&dir, ".", &format!("{root}{ds}\n"), "ECDSAP256SHA256", &[])?;
    world.anchor = root_ds;
    let mut conf = format!(
        "options {{ directory \"{}\"; listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; \
         dnssec-validation no; pid-file none; session-keyfile none; }};\ncontrols {{ }};\n\
         zone \".\" {{ type primary; file \"root/served\"; check-names ignore; }};\nzone \"example\" {{ type primary; file \"example/served\"; }};\n",
        dir.display(),
        server.port()
    );
    for case in CASES {
        conf.push_str(&format!("zone \"{0}.example\" {{ type primary; file \"{0}.example/served\"; }};\n", case.zone));
    }
    fs::write(dir.join("named.conf"), conf).map_err(io)?;
    let log = fs::File::create(dir.join("log")).map_err(io)?;
    let mut named = Command::new("named");
    named.arg("-g").args(["-n", "1", "-c"]).arg(dir.join("named.conf"));
    world.named = Some(named.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().map_err(io)?);
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(server).is_err() {
        let ended = world.named.as_mut().is_some_and(|named| named.try_wait().is_ok_and(|status| status.is_some()));
        if ended || Instant::now() > end {
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            return Err(format!("named does not serve: {log}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(world)
}

fn validated(world: &World, questions: &[(&str, Kind)], now_s: i64) -> Vec<SecurityChain> {
    let until = Instant::now() + Duration::from_secs(30);
    let run = Evaluations::new(Resolver::new(vec![world.server]), until, Duration::from_secs(5));
    let questions = questions.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    let anchors = TrustAnchors::read(&world.anchor).unwrap();
    run.run(Validation { questions, anchors, now_s }).unwrap().outcome
}

/// What `delv` makes of it. `None`: it is not there.
fn delv(world: &World, name: &str, kind: Kind) -> Option<SecurityState> {
    let words: Vec<&str> = world.anchor.split_whitespace().collect();
    let [_, _, _, tag, algorithm, digest, rest @ ..] = words.as_slice() else { panic!("{}", world.anchor) };
    let keys = format!("trust-anchors {{ . static-ds {tag} {algorithm} {digest} \"{}\"; }};\n", rest.concat());
    let file = world.dir.join("anchors");
    fs::write(&file, keys).unwrap();
    let port = world.server.port().to_string();
    let mut command = Command::new("delv");
    command.arg("-a").arg(&file).args(["@127.0.0.1", "-p", &port, name, kind.as_str()]);
    let done = command.output().ok()?;
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    Some(if text.contains("resolution failed") && !text.contains("ncache") {
        SecurityState::Bogus
    } else if text.contains("fully validated") && !text.contains("unsigned answer") {
        SecurityState::Secure
    } else if text.contains("unsigned answer") {
        SecurityState::Insecure
    } else {
        panic!("{name} {kind:?}: {text}")
    })
}

/// What is asked, and what comes of it: the state, and words of the reason.
const EXPECTED: &[(&str, Kind, SecurityState, &str)] = &[
    ("www.good.example", Kind::A, Secure, ""),
    ("good.example", Kind::Mx, Secure, ""),
    ("good.example", Kind::Txt, Secure, ""),
    ("mixed.good.example", Kind::Mx, Secure, ""),
    ("good.example", Kind::Ds, Secure, ""),
    ("good.example", Kind::Tlsa, Secure, ""),
    ("none.good.example", Kind::A, Secure, ""),
    ("a.b.none.good.example", Kind::A, Secure, ""),
    ("empty.good.example", Kind::A, Secure, ""),
    ("x.wild.good.example", Kind::A, Secure, ""),
    ("y.x.wild.good.example", Kind::A, Secure, ""),
    ("x.wild.good.example", Kind::Txt, Secure, ""),
    ("*.wild.good.example", Kind::A, Secure, ""),
    ("alias.good.example", Kind::A, Secure, ""),
    ("far.good.example", Kind::A, Secure, ""),
    ("lost.good.example", Kind::A, Insecure, "unsigned.example is not signed: example proves"),
    ("host.branch.good.example", Kind::A, Secure, ""),
    ("www.hashed.example", Kind::A, Secure, ""),
    ("hashed.example", Kind::Tlsa, Secure, ""),
    ("none.hashed.example", Kind::A, Secure, ""),
    ("a.b.none.hashed.example", Kind::A, Secure, ""),
    ("empty.hashed.example", Kind::A, Secure, ""),
    ("x.wild.hashed.example", Kind::A, Secure, ""),
    ("x.wild.hashed.example", Kind::Txt, Secure, ""),
    ("www.optout.example", Kind::A, Secure, ""),
    ("www.iterated.example", Kind::A, Secure, ""),
    ("www.rsa256.example", Kind::A, Secure, ""),
    ("www.rsa512.example", Kind::A, Secure, ""),
    ("www.rsa1.example", Kind::A, Secure, ""),
    ("www.p384.example", Kind::A, Secure, ""),
    ("www.ed25519.example", Kind::A, Secure, ""),
    ("www.unsigned.example", Kind::A, Insecure, "unsigned.example is not signed: example proves"),
    ("none.unsigned.example", Kind::A, Insecure, "unsigned.example is not signed"),
    ("www.expired.example", Kind::A, Bogus, "the signature of DNSKEY expired.example expired at 2"),
    ("www.future.example", Kind::A, Bogus, "is not valid before 2"),
    ("www.wrongds.example", Kind::A, Bogus, "none of its keys"),
    ("www.nokeys.example", Kind::A, Bogus, "and no DNSKEY records"),
    ("www.stripped.example", Kind::A, Bogus, "A www.stripped.example has no signature"),
    ("stripped.example", Kind::Mx, Secure, ""),
    ("www.forged.example", Kind::A, Bogus, "the signature of A www.forged.example by key"),
    ("none.noproofs.example", Kind::A, Bogus, "that there is no DS none.noproofs.example is not proven"),
    ("none.example", Kind::A, Secure, ""),
    ("none", Kind::A, Secure, ""),
];

/// Where hickory 0.26 says something else, and why it does.
const DIFFERENT: &[(&str, Kind, SecurityState, &str)] = &[
    (
        "x.wild.good.example",
        Kind::A,
        Bogus,
        "it wants the very wildcard denied that the answer was made from; RFC 4035 section 5.3.4 wants that of the name",
    ),
    (
        "host.branch.good.example",
        Kind::A,
        Bogus,
        "it wants a signature of the CNAME that a DNAME makes (RFC 6672 section 5.3.1)",
    ),
    ("lost.good.example", Kind::A, Secure, "it does not follow aliases: this is its verdict of the alias alone"),
];

#[test]
fn verdicts_have_reasons_and_are_those_of_delv_and_hickory() {
    let world = match world() {
        Ok(world) => world,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "skipped: DNSSEC beside delv: {why}");
            return;
        }
    };
    let questions: Vec<(&str, Kind)> = EXPECTED.iter().map(|(name, kind, _, _)| (*name, *kind)).collect();
    let now_s = jiff::Timestamp::now().as_second();
    let chains = validated(&world, &questions, now_s);
    let mut differ = Vec::new();
    for ((name, kind, state, words), chain) in EXPECTED.iter().zip(&chains) {
        let reason = chain.reason.as_ref().map(ToString::to_string).unwrap_or_default();
        if chain.state != *state || !reason.contains(words) {
            differ.push(format!("{}: {:?} {reason}", chain.question, chain.state));
        }
        match delv(&world, name, *kind) {
            Some(other) if other != *state => differ.push(format!("{}: delv says {other:?}", chain.question)),
            Some(_) => {}
            None => {
                let _ = writeln!(std::io::stderr(), "skipped: {name} beside delv: delv is not there");
            }
        }
    }
    for (((name, kind, state, _), chain), (theirs, why)) in
        EXPECTED.iter().zip(&chains).zip(hickory::verdicts(&world, &questions))
    {
        let listed = DIFFERENT.iter().find(|(other, of, ..)| (other, of) == (name, kind));
        if theirs != listed.map_or(*state, |(_, _, theirs, _)| *theirs) {
            let known = listed.map_or("", |(_, _, _, known)| known);
            differ.push(format!("{}: hickory says {theirs:?}, {why}; known is: {known}", chain.question));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(DIFFERENT.iter().all(|(name, kind, ..)| questions.contains(&(name, *kind))));
    let good = chains.first().unwrap();
    let zones: Vec<&str> = good.links.iter().map(|link| link.zone.as_str()).collect();
    assert_eq!(zones, [".", "example", "good.example"]);
    assert!(good.links.iter().all(|link| link.delegated.iter().all(|one| one.matches) && !link.keys.is_empty()));
    // Not compared: delv has other bounds, and knows Ed448.
    let others = validated(&world, &[("none.iterated.example", Kind::A), ("www.ed448.example", Kind::A)], now_s);
    assert!(others.iter().all(|chain| matches!(chain.reason, Some(SecurityReason::Unsupported { .. }))), "{others:?}");
    // A referral, which delv does not take; and what lies between two that opt out, which it calls validated (RFC 5155 section 9.2).
    let others = validated(&world, &[("a.island.good.example", Kind::A), ("none.optout.example", Kind::A)], now_s);
    let optional = |chain: &SecurityChain| matches!(chain.reason, Some(SecurityReason::Unsigned { opt_out: true, .. }));
    assert_eq!(others.iter().map(optional).collect::<Vec<_>>(), [false, true]);
    assert!(others.iter().all(|chain| chain.state == Insecure), "{others:?}");
    // In two months, all of it has expired; what is wrong with the root is not the domain's fault.
    let late = validated(&world, &[("www.good.example", Kind::A)], now_s + 60 * 86_400);
    let late = late.first().unwrap();
    assert_eq!(late.state, SecurityState::Indeterminate);
    assert!(late.reason.as_ref().unwrap().to_string().contains("expired at"), "{:?}", late.reason);
}
