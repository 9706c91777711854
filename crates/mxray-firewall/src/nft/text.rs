//! Rules in nft's own words.
use crate::ruleset::{Rule, Table};
pub(crate) fn text(table: &Table, rule: &Rule) -> String {
    let _ = (table, rule);
    String::new()
}
