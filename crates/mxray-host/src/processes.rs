//! Processes of this machine.

use mxray_model::Seen;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
pub struct Row {
    pub pid: u32,
    pub parent: u32,
    pub name: String,
    pub command: Vec<String>,
    pub uid: u32,
    pub state: char,
    pub started: u64,
    pub unit: Seen<String>,
}

#[derive(Debug, Clone)]
pub struct Table {
    pub all_visible: bool,
    pub rows: BTreeMap<u32, Row>,
}
