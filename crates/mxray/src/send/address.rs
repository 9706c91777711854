//! Addresses as they are typed: `a@b`, `<a@b>`, `Name <a@b>`.

/// One mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// For a header field.
    pub shown: String,
    /// For the envelope, without angle brackets. Empty: the null sender.
    pub address: String,
}

impl Mailbox {
    /// # Errors
    /// A sentence: it cannot be one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (name, address) = text.strip_suffix('>').and_then(|text| text.rsplit_once('<')).unwrap_or(("", text));
        let bad = |c: char| c.is_control() || matches!(c, '<' | '>');
        // A blank can only stand in a quoted local part.
        let blank = address.contains([' ', '\t']) && !address.starts_with('"');
        let nested = name.contains(['<', '>']) && !name.contains('"');
        if nested || name.contains(char::is_control) || address.contains(bad) || blank || address.len() > 320 {
            return Err(format!("{:?} is no address", text.chars().take(80).collect::<String>()));
        }
        Ok(Mailbox { shown: if text.is_empty() { "<>" } else { text }.to_owned(), address: address.to_owned() })
    }
}

/// The domain of an address, in small letters and without a dot at its end.
pub fn domain(address: &str) -> Option<String> {
    let (local, domain) = address.rsplit_once('@')?;
    let domain = domain.trim_end_matches('.').to_lowercase();
    (!local.is_empty() && !domain.is_empty()).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        let of = |text: &str| Mailbox::parse(text).map(|mailbox| mailbox.address);
        assert_eq!(of("a@b.example").unwrap(), "a@b.example");
        assert_eq!(of(" <a@b.example> ").unwrap(), "a@b.example");
        assert_eq!(of("A \"B\" <a@b.example>").unwrap(), "a@b.example");
        assert_eq!(of("\"a b\"@c.example").unwrap(), "\"a b\"@c.example");
        assert_eq!((of("").unwrap(), of("<>").unwrap()), (String::new(), String::new()));
        for bad in ["a@b\r\nRSET", "a b@c", "a@b>", "<<a@b>", "a@b <c"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert_eq!(domain("a@b@C.Example."), Some("c.example".to_owned()));
        assert_eq!((domain("a"), domain("@a"), domain("a@")), (None, None, None));
    }
}
