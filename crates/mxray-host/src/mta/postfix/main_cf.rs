//! main.cf: `name = value` lines to values with their places. Pure.

use super::lines::{Logical, Trouble, logical};
use std::collections::BTreeMap;

/// Most parameters that are kept; Postfix 3.9 knows about 1,100.
const PARAMETERS_MAX: usize = 20_000;

/// One assignment, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub value: String,
    pub line: u32,
}

/// What a main.cf says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MainCf {
    /// By name. Of several assignments the last one holds.
    pub values: BTreeMap<String, Assignment>,
    pub troubles: Vec<Trouble>,
}

pub(crate) fn parse(bytes: &[u8]) -> MainCf {
    let (lines, troubles) = logical(bytes);
    let mut main = MainCf { values: BTreeMap::new(), troubles };
    let mut full = false;
    for Logical { line, text } in lines {
        match name_and_value(&text) {
            Ok((name, value)) => {
                if main.values.len() == PARAMETERS_MAX && !main.values.contains_key(name) {
                    // Later lines may still change what is kept.
                    if !std::mem::replace(&mut full, true) {
                        let text = format!("more than {PARAMETERS_MAX} parameters; further names are not read");
                        main.troubles.push(Trouble::new(line, text));
                    }
                    continue;
                }
                main.values.insert(name.to_owned(), Assignment { value: value.to_owned(), line });
            }
            Err(why) => main.troubles.push(Trouble::fatal(line, why)),
        }
    }
    main
}

/// Splits `name = value`, as Postfix's split_nameval does; also what `-o` carries.
pub(crate) fn name_and_value(text: &str) -> Result<(&str, &str), String> {
    let text = text.trim_matches(' ');
    let end = text.find([' ', '=']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return Err("no parameter name in front of \"=\"".to_owned());
    }
    match rest.trim_start_matches(' ').strip_prefix('=') {
        Some(value) => Ok((name, value.trim_matches(' '))),
        None => Err(format!("missing \"=\" behind the parameter name {}", clip(name))),
    }
}

/// A piece of a foreign line for a message, in quotes.
pub(crate) fn clip(text: &str) -> String {
    format!("\"{}\"", clip_to(text, 80))
}

/// At most so many characters, with a mark where some are missing.
pub(crate) fn clip_to(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_assignment_holds_and_its_place_is_kept() {
        let main = parse(b"relayhost = [a]:587\nx=1\n\nrelayhost =\n  [b]:587\n");
        assert_eq!(main.values["relayhost"], Assignment { value: "[b]:587".into(), line: 4 });
        assert_eq!(main.values["x"].value, "1");
        assert!(main.troubles.is_empty());
    }

    #[test]
    fn values_may_hold_equals_signs_and_be_empty() {
        let main = parse(b"a = b = c\nempty =\n tight=\n=x\n");
        assert_eq!(main.values["a"].value, "b = c");
        assert_eq!(main.values["empty"].value, "tight=");
        assert_eq!(main.troubles, [Trouble::fatal(4, "no parameter name in front of \"=\"")]);
    }

    #[test]
    fn a_line_that_is_no_assignment_is_named_with_its_place() {
        let main = parse(b"myhostname = mx\nsmtpd_banner hello\n");
        assert_eq!(main.troubles, [Trouble::fatal(2, "missing \"=\" behind the parameter name \"smtpd_banner\"")]);
    }

    #[test]
    fn hostile_bytes_neither_panic_nor_act() {
        let main = parse(b"\xff\xfe = \x1b[2J\n\0\n= = =\n{{{\n");
        assert_eq!(main.values["\\xff\\xfe"].value, "\\u{1b}[2J");
        assert_eq!(main.troubles.iter().map(|trouble| trouble.line).collect::<Vec<_>>(), [2, 2, 3, 4]);
    }
}
