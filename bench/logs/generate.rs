//! Writes a Postfix log to standard output and its truth as JSON to a file:
//! `generate-log FORM MESSAGES SEED TRUTH.json > mail.log`, FORM one of plain, rfc3339, journal, instances.

#[path = "lives.rs"]
mod lives;

use std::error::Error;
use std::io::{BufWriter, Write, stdout};

use lives::{Form, Settings, generate};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [form, messages, seed, truth] = arguments.as_slice() else {
        return Err("usage: generate-log plain|rfc3339|journal|instances MESSAGES SEED TRUTH.json".into());
    };
    let form = match form.as_str() {
        "plain" => Form::Plain,
        "rfc3339" => Form::Rfc3339,
        "journal" => Form::Journal,
        "instances" => Form::TwoInstances,
        _ => return Err("no such form".into()),
    };
    // Four hours before New Year.
    let settings =
        Settings { seed: seed.parse()?, messages: messages.parse()?, form, start: 1_767_211_200, gap: 1_200_000 };
    let mut out = BufWriter::new(stdout().lock());
    let known = generate(settings, &mut out)?;
    out.flush()?;
    std::fs::write(truth, serde_json::to_vec_pretty(&known)?)?;
    Ok(())
}
