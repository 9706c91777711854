//! The rooms: ARCHITECTURE.md's table against what cargo knows.
//!
//! The table is read by people before they add a dependency, so it has to be true in both directions: a crate or an
//! arrow that stands on one side only is an error. Arrows of tests (dev-dependencies) are free: they ship nothing.

use crate::tree;
use crate::trouble::{Trouble, none_of};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The crates that each crate depends on, of ours alone.
type Arrows = BTreeMap<String, BTreeSet<String>>;

const TABLE_HEADING: &str = "## Rooms";
const TOUCHES_NOTHING: &str = "nothing of ours";

pub fn check(root: &Path) -> Result<(), Trouble> {
    let page = tree::read(&root.join("ARCHITECTURE.md"))?;
    let metadata = tree::metadata(root, &["--no-deps"])?;
    none_of(differences(&written(&page)?, &built(&metadata)))
}

/// The table as written: `| crate | lives there | may touch |`.
fn written(page: &str) -> Result<Arrows, Trouble> {
    let mut arrows = Arrows::new();
    let section = page.lines().skip_while(|line| line.trim() != TABLE_HEADING).skip(1);
    for line in section.take_while(|line| !line.starts_with("## ")) {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, touches] = cells.as_slice() else { continue };
        let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else { continue };
        let touches = match *touches {
            TOUCHES_NOTHING => BTreeSet::new(),
            list => list.split(',').map(|word| full_name(word.trim())).collect(),
        };
        if arrows.insert(name.to_owned(), touches).is_some() {
            return Err(Trouble::found(format!("ARCHITECTURE.md: {name} stands twice in the table of rooms")));
        }
    }
    if arrows.is_empty() {
        return Err(Trouble::found(format!("ARCHITECTURE.md: no table of rooms under `{TABLE_HEADING}`")));
    }
    Ok(arrows)
}

/// The table says `model` for `mxray-model`; the crates without the prefix are named whole.
fn full_name(word: &str) -> String {
    match word {
        "mxray" | "xtask" | "lab" => word.to_owned(),
        short => format!("mxray-{short}"),
    }
}

fn built(metadata: &Value) -> Arrows {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let touches = |package: &Value| {
        let all = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
        let shipped = all.iter().filter(|dependency| dependency["kind"].as_str() != Some("dev"));
        let names = shipped.filter_map(|dependency| dependency["name"].as_str());
        names.filter(|name| ours.contains(name)).map(str::to_owned).collect()
    };
    let named = packages.iter().filter_map(|package| Some((package["name"].as_str()?.to_owned(), touches(package))));
    named.collect()
}

fn differences(written: &Arrows, built: &Arrows) -> Vec<String> {
    let mut problems = Vec::new();
    for name in written.keys().filter(|name| !built.contains_key(*name)) {
        problems.push(format!("ARCHITECTURE.md names the crate {name}, which the workspace does not have"));
    }
    for (name, really) in built {
        let Some(may) = written.get(name) else {
            problems.push(format!("the crate {name} is missing from ARCHITECTURE.md's table of rooms"));
            continue;
        };
        for to in really.difference(may) {
            problems.push(format!("{name} depends on {to}, which ARCHITECTURE.md does not allow"));
        }
        for to in may.difference(really) {
            problems.push(format!("ARCHITECTURE.md lets {name} touch {to}, which it does not depend on"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PAGE: &str = "# A\n\n## Rooms\n\n| crate | lives there | may touch |\n|---|---|---|\n\
        | `mxray-model` | values | nothing of ours |\n| `mxray-rules` | rules | model |\n| `mxray` | argv | model, rules |\n\
        \n## Other\n\n| `mxray-sys` | not in this table | model |\n";

    fn workspace(rules_touch: &Value) -> Value {
        let ours = |name: &str| json!({"name": name, "kind": null});
        json!({"packages": [
            {"name": "mxray-model", "dependencies": [{"name": "serde", "kind": null}]},
            {"name": "mxray-rules", "dependencies": rules_touch},
            {"name": "mxray", "dependencies": [ours("mxray-model"), ours("mxray-rules")]},
        ]})
    }

    #[test]
    fn a_true_table_passes_and_test_arrows_are_free() {
        let tests_too = json!([{"name": "mxray-model", "kind": null}, {"name": "mxray", "kind": "dev"}]);
        assert_eq!(differences(&written(PAGE).unwrap(), &built(&workspace(&tests_too))), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_on_one_side_only_is_named() {
        let problems =
            differences(&written(PAGE).unwrap(), &built(&workspace(&json!([{"name": "mxray", "kind": null}]))));
        assert_eq!(
            problems,
            [
                "mxray-rules depends on mxray, which ARCHITECTURE.md does not allow",
                "ARCHITECTURE.md lets mxray-rules touch mxray-model, which it does not depend on",
            ]
        );
    }

    #[test]
    fn a_crate_on_one_side_only_is_named() {
        let more = PAGE
            .replace("\n## Other", "| `lab` | tests | nothing of ours |\n\n## Other")
            .replace("| `mxray` | argv | model, rules |\n", "");
        let problems =
            differences(&written(&more).unwrap(), &built(&workspace(&json!([{"name": "mxray-model", "kind": null}]))));
        assert_eq!(
            problems,
            [
                "ARCHITECTURE.md names the crate lab, which the workspace does not have",
                "the crate mxray is missing from ARCHITECTURE.md's table of rooms",
            ]
        );
    }

    #[test]
    fn a_page_without_the_table_is_refused() {
        assert!(written("# A\n\n## Rooms\n\nNone.\n").is_err());
    }
}
