//! How UCL is read: values, sections, what an include does, and that nothing hostile holds or breaks the reading.

use super::*;
use proptest::prelude::*;

struct Tree(Vec<(String, String)>);

impl Files for Tree {
    fn read(&self, path: &str) -> Seen<Vec<u8>> {
        match self.0.iter().find(|(name, _)| name == path) {
            Some((_, text)) if text == "forbidden" => {
                Seen::Unknown(Blind::NotPermitted { what: format!("read {path}"), needs: "root".into() })
            }
            Some((_, text)) => Seen::Value(text.as_bytes().to_vec()),
            None => Seen::Absent,
        }
    }

    fn list(&self, directory: &str) -> Seen<Vec<String>> {
        let inside = |path: &str| path.strip_prefix(directory)?.strip_prefix('/').map(str::to_owned);
        Seen::Value(self.0.iter().filter_map(|(path, _)| inside(path)).filter(|name| !name.contains('/')).collect())
    }
}

fn of(files: &[(&str, &str)]) -> (Section, Vec<Problem>) {
    let tree = Tree(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect());
    let mut parser = Parser::new(&tree, BTreeMap::from([("CONFDIR", "/c".to_owned()), ("DB", "/db".to_owned())]));
    let root = parser.file("/c/main").value().expect("a file").clone();
    (root, parser.problems)
}

fn text_of(text: &str) -> (Section, Vec<Problem>) {
    of(&[("/c/main", text)])
}

fn texts(section: &Section, key: &str) -> Vec<String> {
    section.all(key).into_iter().filter_map(|entry| entry.text().map(str::to_owned)).collect()
}

#[test]
fn values_of_every_kind() {
    let (root, problems) = text_of(
        "# comment\na = one; b: two\nc three # not this\n\"d\" = \"f\\\"our\" ; e = 'fi$DB\\'ve'\n\
         f = ${DB}/$domain.$selector.key;\n/* g = 1; /* h = 2 */ */ i = [1, \"2\", 3 ];\nj = <<EOD\nl1\nl2\nEOD\nk = $DB/x\n",
    );
    assert_eq!(problems, []);
    for (key, value) in [
        ("a", "one"),
        ("b", "two"),
        ("c", "three"),
        ("d", "f\"our"),
        ("e", "fi$DB've"),
        ("f", "/db/$domain.$selector.key"),
        ("j", "l1\\nl2"),
        ("k", "/db/x"),
    ] {
        assert_eq!(texts(&root, key), [value], "{key}");
    }
    assert_eq!(texts(&root, "i"), ["1", "2", "3"]);
    assert_eq!(root.text("k").unwrap().1.line, 11);
    assert!(!root.entries.contains_key("g") && !root.entries.contains_key("h"));
}

#[test]
fn sections_with_names_and_within_lists() {
    let (root, problems) = text_of(
        "worker \"normal\" { count = 1 }\nworker \"rspamd_proxy\" {\n upstream \"local\" { hosts = h; }\n}\n\
         domain { a.example { selectors [ { selector = x }, { selector: \"y\"; } ] } }\nlate\n{ x = 1 }\n",
    );
    assert_eq!(problems, []);
    let workers = root.sections("worker");
    assert_eq!(workers.len(), 2);
    assert_eq!(workers[1].sections("rspamd_proxy")[0].sections("upstream")[0].sections("local").len(), 1);
    let selectors = root.sections("domain")[0].sections("a.example")[0].sections("selectors");
    assert_eq!(selectors.iter().flat_map(|one| texts(one, "selector")).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(texts(root.sections("late")[0], "x"), ["1"]);
}

/// As `rspamadm configdump` shows it for the same files.
#[test]
fn priorities_and_merging() {
    let main = "s {\n a = default; list = [d]\n domain { old { x = 1 } }\n\
                .include(try=true; priority=1,duplicate=merge) \"$CONFDIR/local\"\n\
                .include(try=true; priority=10) \"$CONFDIR/over\"\n.include(try=true) \"/none\" }\n";
    let local = "a = one; a = two\ndomain { new { x = 2 } }\ndomain { newer { x = 3 } }\nlist = [e]\n";
    let (root, problems) = of(&[("/c/main", main), ("/c/local", local)]);
    assert_eq!(problems, []);
    let section = root.sections("s")[0];
    assert_eq!(texts(section, "a"), ["one", "two"]);
    assert_eq!(texts(section, "list"), ["d", "e"]);
    let domains: Vec<&String> = section.sections("domain")[0].entries.keys().collect();
    assert_eq!(domains, ["new", "newer", "old"]);
    assert_eq!(section.text("a").unwrap().1.to_string(), "/c/local:1");

    let (root, _) = of(&[("/c/main", main), ("/c/local", local), ("/c/over", "domain { only { } }; a = three")]);
    let section = root.sections("s")[0];
    assert_eq!(texts(section, "a"), ["three"]);
    assert_eq!(section.sections("domain")[0].entries.keys().collect::<Vec<_>>(), ["only"]);
}

#[test]
fn a_pattern_takes_all_files_that_fit() {
    let main = ".include(glob=true) \"${CONFDIR}/m.d/*.conf\"";
    let files = [("/c/main", main), ("/c/m.d/a.conf", "a = 1"), ("/c/m.d/b.conf", "b = 1"), ("/c/m.d/c.old", "c = 1")];
    let (root, problems) = of(&files);
    assert_eq!((root.entries.keys().map(String::as_str).collect::<Vec<_>>(), problems), (vec!["a", "b"], vec![]));
    for (pattern, name, fits) in [
        ("*.conf", "x.conf", true),
        ("a?c*", "abc", true),
        ("*a*a*b", "aaaaaa", false),
        ("", "", true),
        ("*", "", true),
    ] {
        assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
    }
}

#[test]
fn what_is_not_understood_blinds_its_own_section() {
    for (inside, why) in [
        (".include \"/c/forbidden\"", "not permitted"),
        (".include \"/c/jinja\"", "Jinja"),
        (".include \"/c/main\"", "includes itself"),
        (".lua \"x\"", ".lua is not understood"),
        (".include(key=x) \"/c/x\"", "with key"),
        ("alone", "without a value"),
        ("= 3", "neither a key"),
    ] {
        let main = format!("good {{ a = 1 }}\nbad {{\n{inside}\n}}\nafter = 1\n");
        let files = [("/c/main", main.as_str()), ("/c/forbidden", "forbidden"), ("/c/jinja", "x = {= env.X =};\n")];
        let (root, problems) = of(&files);
        assert!(root.sections("bad")[0].blind.as_ref().is_some_and(|blind| blind.why().contains(why)), "{inside}");
        assert!(root.blind.is_none() && root.sections("good")[0].blind.is_none(), "{inside}");
        assert_eq!(texts(&root, "after"), ["1"], "{inside}");
        assert!(problems[0].text.contains(why) && problems[0].at.file.starts_with("/c/"), "{inside}: {problems:?}");
    }
    let (root, problems) = text_of("a { b = \"x");
    assert!(root.sections("a")[0].blind.is_some() && !problems.is_empty());
    // Missing is not forbidden; rspamd itself would complain.
    let (root, problems) = text_of(".include \"/none\"\na = 1\n");
    assert!(root.blind.is_none());
    assert_eq!(problems[0].at.line, 1);
}

#[test]
fn depth_and_size_have_their_limits() {
    let deep = "a {".repeat(100_000);
    assert!(!text_of(&deep).1.is_empty());
    assert!(!text_of(&"a [[".repeat(100_000)).1.is_empty());
    assert!(!text_of(&"a b c ".repeat(100_000)).0.entries.is_empty());
    assert!(!text_of(&format!("{} {{", "a ".repeat(100_000))).1.is_empty());
    assert!(!text_of(&"a=1\n".repeat(VALUES_MAX + 1)).1.is_empty());
    // Two files that include each other twice: no more than the depth allows, and an end.
    let (root, problems) = of(&[("/c/main", ".include \"/c/b\"\n.include \"/c/b\""), ("/c/b", ".include \"/c/main\"")]);
    assert!(root.blind.is_some() && problems.len() == 2);
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let tree = Tree(Vec::new());
        let mut parser = Parser::new(&tree, BTreeMap::from([("A", "/a".to_owned())]));
        parser.chunk("/f", &bytes, 0, true, &mut Section::default());
    }

    #[test]
    fn never_panics_on_what_looks_like_it(parts in proptest::collection::vec(
        prop_oneof![Just("a"), Just("{"), Just("}"), Just("["), Just("]"), Just("="), Just("\""), Just("'"), Just("\n"), Just(";"),
            Just("$"), Just("${A}"), Just("<<E"), Just("E\n"), Just("/*"), Just("*/"), Just("#"), Just(" "), Just("\\"), Just(","),
            Just(".include(glob=true;duplicate=merge) \"/f/*\"\n")], 0..60)) {
        let text = parts.concat();
        let tree = Tree(vec![("/f/g".to_owned(), text.clone())]);
        let mut parser = Parser::new(&tree, BTreeMap::from([("A", "/a".to_owned())]));
        parser.chunk("/f/f", text.as_bytes(), 0, false, &mut Section::default());
        prop_assert_eq!(parser.nested, 0);
    }
}
