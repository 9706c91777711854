//! `$name`, `${name}`, `${name?yes}`, `${name:no}`, `${name?{yes}:{no}}` and `${{a} == {b} ? {yes} : {no}}`, as
//! postconf(5) has them. Pure: a lookup comes in, text goes out.
//!
//! We expand ourselves because `postconf -x` knows nothing of a service's own `-o` values, and is missing before 2.10.

use std::collections::BTreeSet;

/// Postfix's own limit ("unreasonable macro call nesting"). What loops hits it.
const DEPTH_MAX: u32 = 100;
/// Longest result, in bytes: `$a$a` a few times nested would otherwise fill the memory.
const RESULT_BYTES_MAX: usize = 1 << 20;
/// Most references that are followed in one value, for the same reason where results are empty.
const REFERENCES_MAX: u32 = 20_000;

/// An expanded value, and the names in it that nobody defined (they expand to nothing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub text: String,
    pub undefined: BTreeSet<String>,
}

/// Expands one value. `lookup` gives the unexpanded value of a name.
///
/// # Errors
/// What Postfix would stop at: a syntax error, a loop; or one of our limits. In words, without the place.
pub(crate) fn expand<'a>(text: &str, lookup: &dyn Fn(&str) -> Option<&'a str>) -> Result<Expanded, String> {
    let mut run = Run { lookup, undefined: BTreeSet::new(), references: 0, depth: 0 };
    let mut out = String::new();
    run.text(text, &mut out)?;
    Ok(Expanded { text: out, undefined: run.undefined })
}

struct Run<'f, 'a> {
    lookup: &'f dyn Fn(&str) -> Option<&'a str>,
    undefined: BTreeSet<String>,
    references: u32,
    depth: u32,
}

impl Run<'_, '_> {
    fn text(&mut self, text: &str, out: &mut String) -> Result<(), String> {
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (literal, reference) = rest.split_at(at);
            push(out, literal)?;
            let behind = reference.get(1..).unwrap_or_default();
            rest = match behind.bytes().next() {
                Some(b'$') => {
                    push(out, "$")?;
                    behind.get(1..).unwrap_or_default()
                }
                Some(b'{') => self.bracketed(behind, '{', '}', out)?,
                Some(b'(') => self.bracketed(behind, '(', ')', out)?,
                _ => {
                    let end = behind.find(|c: char| !is_name(c)).unwrap_or(behind.len());
                    let (name, tail) = behind.split_at(end);
                    self.reference(name, out)?;
                    tail
                }
            };
        }
        push(out, rest)
    }

    /// `text` begins with the opening bracket; what stands behind the closing one is returned.
    fn bracketed<'t>(&mut self, text: &'t str, open: char, close: char, out: &mut String) -> Result<&'t str, String> {
        let (inner, tail) =
            balanced(text, open, close).ok_or_else(|| format!("\"${open}\" without its \"{close}\""))?;
        self.reference(inner, out)?;
        Ok(tail)
    }

    /// What stands between the brackets, or a bare name.
    fn reference(&mut self, inner: &str, out: &mut String) -> Result<(), String> {
        self.references += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("refers to itself, or is nested more than {DEPTH_MAX} deep, at \"${inner}\""));
        }
        if self.references > REFERENCES_MAX {
            return Err(format!("needs more than {REFERENCES_MAX} references"));
        }
        let done = self.conditional(inner, out);
        self.depth -= 1;
        done
    }

    fn conditional(&mut self, inner: &str, out: &mut String) -> Result<(), String> {
        let trimmed = inner.trim_start();
        if trimmed.starts_with('{') {
            let (holds, rest) = self.comparison(trimmed)?;
            let rest = rest.trim_start();
            if rest.is_empty() {
                return push(out, if holds { "true" } else { "" });
            }
            return self.choose(holds, rest, out);
        }
        let end = inner.find(|c: char| !is_name(c)).unwrap_or(inner.len());
        let (name, rest) = inner.split_at(end);
        if name.is_empty() {
            return Err("\"$\" without a parameter name (a literal one is written \"$$\")".to_owned());
        }
        let value = (self.lookup)(name);
        if rest.is_empty() {
            return match value {
                Some(value) => self.text(value, out),
                None => {
                    self.undefined.insert(name.to_owned());
                    Ok(())
                }
            };
        }
        // The unexpanded value decides, which is what Postfix looks at: `$empty` counts as non-empty.
        self.choose(value.is_some_and(|value| !value.is_empty()), rest, out)
    }

    /// `?yes`, `:no`, `?{yes}:{no}`, from the operator on.
    fn choose(&mut self, holds: bool, rest: &str, out: &mut String) -> Result<(), String> {
        let mut rest = rest;
        if let Some(behind) = rest.strip_prefix('?') {
            let (yes, tail) = operand(behind)?;
            if holds {
                self.text(yes, out)?;
            }
            if tail.is_empty() {
                return Ok(());
            }
            rest = tail;
        }
        let Some(behind) = rest.strip_prefix(':') else {
            return Err(format!("\"?\" or \":\" expected at \"{rest}\""));
        };
        let (no, tail) = operand(behind)?;
        if !holds {
            self.text(no, out)?;
        }
        if tail.is_empty() { Ok(()) } else { Err(format!("unexpected \"{tail}\"")) }
    }

    /// `{a} == {b}`, and what stands behind it.
    fn comparison<'t>(&mut self, text: &'t str) -> Result<(bool, &'t str), String> {
        let missing = || format!("incomplete comparison in \"${{{text}}}\"");
        let (left, rest) = balanced(text, '{', '}').ok_or_else(missing)?;
        let rest = rest.trim_start();
        let at = rest.find('{').ok_or_else(missing)?;
        let (operator, rest) = rest.split_at(at);
        let (right, rest) = balanced(rest, '{', '}').ok_or_else(missing)?;
        let mut sides = [String::new(), String::new()];
        let [left_text, right_text] = &mut sides;
        self.text(left, left_text)?;
        self.text(right, right_text)?;
        Ok((compare(left_text, operator.trim_end(), right_text)?, rest))
    }
}

/// An operand: `{text}` with white space around it, or all the rest.
fn operand(text: &str) -> Result<(&str, &str), String> {
    let trimmed = text.trim_start();
    if !trimmed.starts_with('{') {
        return Ok((text, ""));
    }
    let (inner, tail) = balanced(trimmed, '{', '}').ok_or_else(|| "\"{\" without its \"}\"".to_owned())?;
    Ok((inner, tail.trim_start()))
}

/// The inside of the bracket that `text` begins with, and what follows its end.
fn balanced(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some((text.get(1..at)?, text.get(at + 1..)?));
            }
        }
    }
    None
}

fn compare(left: &str, operator: &str, right: &str) -> Result<bool, String> {
    use std::cmp::Ordering;
    let order = if operator.ends_with("level") {
        level(left)?.cmp(&level(right)?)
    } else {
        match (number(left), number(right)) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => left.cmp(right),
        }
    };
    Ok(match operator.strip_suffix("level").unwrap_or(operator) {
        "==" => order == Ordering::Equal,
        "!=" => order != Ordering::Equal,
        "<" => order == Ordering::Less,
        "<=" => order != Ordering::Greater,
        ">" => order == Ordering::Greater,
        ">=" => order != Ordering::Less,
        other => return Err(format!("unknown comparison \"{other}\"")),
    })
}

fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A compatibility level: `2`, `3.6`, `3.6.1`.
fn level(text: &str) -> Result<[u32; 3], String> {
    let mut parts = [0; 3];
    let mut given = text.trim().split('.');
    for (index, part) in parts.iter_mut().enumerate() {
        match given.next() {
            Some(digits) => *part = digits.parse().map_err(|_| format!("\"{text}\" is no compatibility level"))?,
            None if index > 0 => break,
            None => {}
        }
    }
    if given.next().is_some() { Err(format!("\"{text}\" is no compatibility level")) } else { Ok(parts) }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn push(out: &mut String, text: &str) -> Result<(), String> {
    if out.len().saturating_add(text.len()) > RESULT_BYTES_MAX {
        return Err(format!("longer than {RESULT_BYTES_MAX} bytes when expanded"));
    }
    out.push_str(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)], text: &str) -> Result<String, String> {
        let owned: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let lookup = |name: &str| owned.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        expand(text, &lookup).map(|expanded| expanded.text)
    }

    #[test]
    fn every_form_of_reference() {
        let values =
            [("host", "mx"), ("domain", "example.org"), ("full", "$host.$domain"), ("none", ""), ("v", "$none")];
        for (text, wanted) in [
            ("$full", "mx.example.org"),
            ("${host}x $(domain)", "mxx example.org"),
            ("a$$b", "a$b"),
            ("${host?yes}${none?no}${missing?no}", "yes"),
            ("${none:empty}${missing:gone}${host:no}", "emptygone"),
            ("${host?{yes}:{no}} ${none?{yes} : {no}}", "yes no"),
            ("${host? {$full} : {x}}", "mx.example.org"),
            ("${none:{$full}}", "mx.example.org"),
            ("${v?unexpanded}", "unexpanded"),
            ("${host??:{b}}", "?:{b}"),
            ("${{$host} == {mx} ? {same} : {other}}", "same"),
            ("${{$host} != {mx}?{other}:{same}}", "same"),
            ("${{10} > {9} ? {number} : {text}}", "number"),
            ("${{a10} > {a9} ? {number} : {text}}", "text"),
            ("${{3.10} >=level {3.6} ? {new} : {old}}", "new"),
            ("${{0} <level {2} ? {$domain} : {}}", "example.org"),
            ("${{a} == {a}}", "true"),
            ("$missing", ""),
        ] {
            assert_eq!(with(&values, text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_postfix_stops_at_is_an_error() {
        let values = [("a", "$b"), ("b", "$c"), ("c", "$a"), ("self", "x $self")];
        for text in ["$a", "$self", "${x", "$(x", "$", "x $ y", "${}", "${{a} ~ {b} ? {c}}", "${{a} == b}", "${x?{a}b}"]
        {
            assert!(with(&values, text).is_err(), "{text}");
        }
        assert!(with(&values, "${{x} <level {2} ? {a}}").is_err());
        assert!(with(&values, "${{} <level {2} ? {a}}").is_err());
    }

    #[test]
    fn a_value_that_doubles_itself_ends_within_bounds() {
        let mut owned = vec![("v0".to_owned(), "0123456789".to_owned())];
        for index in 1..60 {
            owned.push((format!("v{index}"), format!("$v{0}$v{0}", index - 1)));
        }
        let lookup = |name: &str| owned.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert!(expand("$v59", &lookup).is_err());
        let empty = |name: &str| owned.iter().find(|(key, _)| key == name && key != "v0").map(|(_, v)| v.as_str());
        assert!(expand("$v59", &empty).is_err());
        let deep = format!("{}{}", "${x?".repeat(5000), "}".repeat(5000));
        assert!(expand(&deep, &|_| Some("1")).is_err());
    }

    #[test]
    fn undefined_names_are_told() {
        let expanded = expand("$mua_client_restrictions, reject", &|_| None).unwrap();
        assert_eq!(expanded.text, ", reject");
        assert_eq!(expanded.undefined.into_iter().collect::<Vec<_>>(), ["mua_client_restrictions"]);
    }
}
