//! schema/*.json: the JSON Schema of a report and of what logs say, made from the types that are serialised.

use crate::generated::Generated;
use crate::trouble::Trouble;
use mxray_logs::{LOGS_SCHEMA, Summary};
use mxray_model::{REPORT_SCHEMA, Report};
use serde_json::{Value, json};

pub fn generate() -> Result<Generated, Trouble> {
    let mut set = Generated { owns: vec!["schema".into()], ..Generated::default() };
    set.add("schema/report.json", text(schemars::schema_for!(Report).to_value(), REPORT_SCHEMA)?);
    set.add("schema/logs.json", text(schemars::schema_for!(Summary).to_value(), LOGS_SCHEMA)?);
    Ok(set)
}

fn text(mut schema: Value, name: &str) -> Result<String, Trouble> {
    if let Value::Object(members) = &mut schema {
        members.insert("title".to_owned(), json!(name));
        members.insert("$id".to_owned(), json!(name));
    }
    // The member is a plain string to serde; what a reader may rely on is this one value.
    if let Some(member) = schema.pointer_mut("/properties/schema") {
        *member = json!({"const": name});
    }
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|source| Trouble::Json { what: format!("the schema {name}"), source })?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        let set = generate().unwrap();
        let (_, text) = set.files.iter().find(|(path, _)| path.ends_with("report.json")).unwrap();
        serde_json::from_str(text).unwrap()
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
