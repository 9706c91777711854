//! The programs that write rules, by the names that they give.

use crate::ruleset::{Chain, Rule, Table};

/// Who wrote a table.
pub fn of_table(table: &Table) -> Option<&'static str> {
    let _ = table;
    None
}

/// Who wrote a chain.
pub fn of_chain(table: &Table, chain: &str) -> Option<&'static str> {
    let _ = (table, chain);
    None
}

/// Who wrote a rule.
pub fn of_rule(table: &Table, chain: &Chain, rule: &Rule) -> Option<&'static str> {
    let _ = rule;
    of_chain(table, &chain.name).or_else(|| of_table(table))
}
