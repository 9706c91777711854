//! rspamd's workers and signing keys, from trees of files as packages and admins write them.

use super::*;

struct Tree(Vec<(&'static str, String)>);

impl Files for Tree {
    fn read(&self, path: &str) -> Seen<Vec<u8>> {
        match self.0.iter().find(|(name, _)| *name == path) {
            Some((_, text)) if text == "forbidden" => forbidden(path),
            Some((_, text)) => Seen::Value(text.as_bytes().to_vec()),
            None => Seen::Absent,
        }
    }

    fn list(&self, directory: &str) -> Seen<Vec<String>> {
        let inside = |path: &str| path.strip_prefix(directory)?.strip_prefix('/').map(str::to_owned);
        let names: BTreeSet<String> =
            (self.0.iter()).filter_map(|(path, _)| Some(inside(path)?.split('/').next()?.to_owned())).collect();
        if names.contains("forbidden") {
            return forbidden(directory);
        }
        if names.is_empty() { Seen::Absent } else { Seen::Value(names.into_iter().collect()) }
    }
}

fn forbidden<T>(path: &str) -> Seen<T> {
    Seen::Unknown(Blind::NotPermitted { what: format!("read {path}"), needs: "root".into() })
}

/// The package's main file, as far as it matters here, and these files in local.d.
fn of(files: &[(&'static str, &str)]) -> Signer {
    let include = |name: &str| {
        format!(
            ".include(try=true; priority=1,duplicate=merge) \"$LOCAL_CONFDIR/local.d/{name}\"\n\
             .include(try=true; priority=10) \"$LOCAL_CONFDIR/override.d/{name}\"\n"
        )
    };
    let main = format!(
        ".include(try=true) \"$LOCAL_CONFDIR/rspamd.conf.local\"\n\
         dkim_signing {{\n selector = \"dkim\"; sign_local = true; try_fallback = true;\n{}}}\n\
         worker \"normal\" {{\n bind_socket = \"localhost:11333\";\n{}}}\n\
         worker \"rspamd_proxy\" {{\n bind_socket = \"localhost:11332\"; milter = yes;\n{}}}\n\
         worker \"fuzzy\" {{ bind_socket = \"localhost:11335\"; count = -1; }}\n",
        include("dkim_signing.conf"),
        include("worker-normal.inc"),
        include("worker-proxy.inc"),
    );
    let mut tree = vec![("/etc/rspamd/rspamd.conf", main)];
    tree.extend(files.iter().map(|(path, text)| (*path, (*text).to_owned())));
    signer("/etc/rspamd/rspamd.conf", &Tree(tree)).value().expect("a configuration").clone()
}

const SIGNING: &str = "/etc/rspamd/local.d/dkim_signing.conf";
const PROXY: &str = "/etc/rspamd/local.d/worker-proxy.inc";

fn signs(signer: &Signer) -> Option<bool> {
    signer.mode.value().map(|mode| mode.signs)
}

fn names(signer: &Signer) -> Vec<String> {
    signer.keys.iter().flat_map(|(path, key)| key.names.iter().map(move |name| format!("{path} {name}"))).collect()
}

fn inet(host: &str, port: u16) -> Endpoint {
    Endpoint::Inet { host: host.to_owned(), port }
}

#[test]
fn as_its_package_has_it_it_verifies() {
    let signer = of(&[]);
    assert_eq!(signs(&signer), Some(false));
    assert_eq!(signer.sockets, Seen::Value(vec![inet("localhost", 11332)]));
    assert_eq!(signer.settings["worker.normal.bind_socket"].value, "localhost:11333");
    assert!(!signer.settings.contains_key("worker.fuzzy.bind_socket"));
    assert_eq!(signer.settings["dkim_signing.sign_local"].at.as_ref().unwrap().line, 3);
    assert!(signer.domains.is_absent() && signer.problems.is_empty());
}

#[test]
fn a_key_in_the_default_place_is_used() {
    let signer = of(&[("/var/lib/rspamd/dkim/example.org.dkim.key", "k"), ("/var/lib/rspamd/dkim/notes.txt", "")]);
    assert_eq!(signs(&signer), Some(true));
    assert_eq!(names(&signer), ["/var/lib/rspamd/dkim/example.org.dkim.key dkim._domainkey.example.org"]);
    // Another selector's file is not.
    assert_eq!(signs(&of(&[("/var/lib/rspamd/dkim/example.org.other.key", "k")])), Some(false));
    let off = [("/var/lib/rspamd/dkim/example.org.dkim.key", "k"), (SIGNING, "enabled = false;")];
    assert_eq!(signs(&of(&off)), Some(false));
    // A directory that must not be read is not an empty one.
    assert!(of(&[("/var/lib/rspamd/dkim/forbidden", "")]).mode.blind().is_some());
    let own = [(SIGNING, "path = \"/keys/$domain/$selector.pem\"; selector = s;"), ("/keys/a.example/s.pem", "k")];
    assert_eq!(names(&of(&own)), ["/keys/a.example/s.pem s._domainkey.a.example"]);
    let one = [(SIGNING, "path = \"/keys/all.key\""), ("/keys/all.key", "k")];
    assert_eq!(of(&one).domains, Seen::Value(BTreeSet::from(["*".to_owned()])));
}

#[test]
fn domains_with_their_own_selectors() {
    let text = "try_fallback = false;\ndomain {\n example.org { selector = \"a\"; path = \"/k/a.key\"; }\n\
                example.net { selectors [ { selector = \"x\"; path = '/k/x.key' }, { selector: y } ] }\n}\n";
    let signer = of(&[(SIGNING, text)]);
    assert_eq!(signs(&signer), Some(true));
    assert_eq!(
        names(&signer),
        [
            "/k/a.key a._domainkey.example.org",
            "/k/x.key x._domainkey.example.net",
            "/var/lib/rspamd/dkim/example.net.y.key y._domainkey.example.net"
        ]
    );
    assert_eq!(signer.keys["/k/a.key"].at.to_string(), format!("{SIGNING}:3"));
    assert_eq!(signer.mode_at.unwrap().to_string(), format!("{SIGNING}:2"));
    assert_eq!(signer.domains.value().unwrap().len(), 2);
}

#[test]
fn maps_and_tables() {
    let text = "selector_map = \"/etc/rspamd/sel.map\";\npath_map = \"/etc/rspamd/path.map\";";
    let files = [
        (SIGNING, text),
        ("/etc/rspamd/sel.map", "# c\na.example\ts1\nb.example s2\n"),
        ("/etc/rspamd/path.map", "b.example /k/$domain-$selector\n"),
    ];
    assert_eq!(
        names(&of(&files)),
        ["/k/b.example-s2 s2._domainkey.b.example", "/var/lib/rspamd/dkim/a.example.s1.key s1._domainkey.a.example"]
    );
    let text = "signing_table = \"/t/s\"; key_table = \"file:///t/k\";";
    let files =
        [(SIGNING, text), ("/t/k", "n a.example:s:/k/a\nm b.example:s:MIIsecret\n"), ("/t/s", "*@a.example n\n")];
    let signer = of(&files);
    assert_eq!(names(&signer), ["/k/a s._domainkey.a.example"]);
    assert!(!format!("{signer:?}").contains("MIIsecret"));
    assert!(of(&[(SIGNING, "path_map = \"https://maps.example/p\"; try_fallback = no")]).mode.blind().is_some());
    assert!(of(&[(SIGNING, "path_map = \"/t/p\"; try_fallback = no"), ("/t/p", "forbidden")]).mode.blind().is_some());
}

#[test]
fn keys_elsewhere_are_unknown() {
    for text in ["use_redis = true;", "use_vault = yes", "sign_condition = \"return function() end\""] {
        let signer = of(&[(SIGNING, text)]);
        assert!(signer.mode.blind().is_some() && signer.sockets.value().is_some(), "{text}");
    }
    let signer = of(&[(SIGNING, "forbidden")]);
    assert!(signer.mode.blind().is_some_and(|blind| blind.why().contains("not permitted")));
    assert!(signer.sockets.value().is_some() && signer.problems.len() == 1);
}

#[test]
fn milter_sockets() {
    let text = "bind_socket = \"*:11999\";\nbind_socket = \"/run/rspamd/milter.sock mode=0660 owner=_rspamd\";";
    let signer = of(&[(PROXY, text)]);
    let unix = Endpoint::Unix { path: "/run/rspamd/milter.sock".to_owned() };
    assert_eq!(signer.sockets, Seen::Value(vec![inet("0.0.0.0", 11999), unix]));
    assert_eq!(signer.socket_at.unwrap().to_string(), format!("{PROXY}:1"));
    assert!(of(&[(PROXY, "milter = no;")]).sockets.is_absent());
    assert!(of(&[("/etc/rspamd/override.d/worker-proxy.inc", "enabled = false")]).sockets.is_absent());
    assert!(of(&[(PROXY, "bind_socket = \"systemd:0\"")]).sockets.blind().is_some());
    assert!(of(&[(PROXY, "forbidden")]).sockets.blind().is_some());
    // An old way to write it, beside the package's.
    let own = "worker { type = \"rspamd_proxy\"; milter = true; bind_socket = [\"[::1]:1\", \"*v6:2\"]; }";
    let signer = of(&[("/etc/rspamd/rspamd.conf.local", own)]);
    assert_eq!(signer.sockets, Seen::Value(vec![inet("::1", 1), inet("::", 2), inet("localhost", 11332)]));
    assert_eq!(endpoint("localhost"), Some(inet("localhost", 11333)));
    assert_eq!(endpoint("fe80::1"), Some(inet("fe80::1", 11333)));
    assert_eq!(endpoint("host:port"), None);
}
