//! What all commands that print Prometheus' text format have in common. Which series there are is each command's business.

/// A label's value: backslash, quote and line feed are escaped.
pub fn label_value(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_ends_where_its_value_does() {
        assert_eq!(label_value("a\\\"b\nc"), "a\\\\\\\"b\\nc");
        assert_eq!(label_value("größe"), "größe");
    }
}
