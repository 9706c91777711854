//! schema/report.json: the JSON Schema of a report, made from the types that are serialised.

use crate::generated::Generated;
use crate::trouble::Trouble;
use mxray_model::{REPORT_SCHEMA, Report};
use serde_json::{Value, json};

pub fn generate() -> Result<Generated, Trouble> {
    let mut schema = schemars::schema_for!(Report).to_value();
    if let Value::Object(members) = &mut schema {
        members.insert("title".to_owned(), json!(REPORT_SCHEMA));
        members.insert("$id".to_owned(), json!(REPORT_SCHEMA));
    }
    // The member is a plain string to serde; what a reader may rely on is this one value.
    if let Some(name) = schema.pointer_mut("/properties/schema") {
        *name = json!({"const": REPORT_SCHEMA});
    }
    let mut text = serde_json::to_string_pretty(&schema)
        .map_err(|source| Trouble::Json { what: "the schema of a report".to_owned(), source })?;
    text.push('\n');
    let mut set = Generated { owns: vec!["schema".into()], ..Generated::default() };
    set.add("schema/report.json", text);
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        let set = generate().unwrap();
        serde_json::from_str(set.files.values().next().unwrap()).unwrap()
    }

    #[test]
    fn every_member_of_a_report_is_required_and_described() {
        let schema = schema();
        let required: Vec<&str> = schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for member in [
            "schema",
            "tool",
            "started",
            "took_ms",
            "question",
            "verdict",
            "causes",
            "findings",
            "ruled_out",
            "healthy",
            "unseen",
            "evidence",
        ] {
            assert!(required.contains(&member), "{member} is not required");
            assert!(schema["properties"].get(member).is_some(), "{member} has no schema");
        }
    }

    #[test]
    fn a_finding_is_closed_to_what_is_not_serialised() {
        let finding = schema()["$defs"]["Finding"].clone();
        assert!(finding["properties"].get("because").is_some());
        assert!(finding["properties"].get("scope").is_none(), "scope is not part of the JSON");
    }

    #[test]
    fn two_runs_give_the_same_bytes() {
        assert_eq!(generate().unwrap().files, generate().unwrap().files);
    }
}
