//! What a terminal gets where a full list would be a wall: sums that fit on one screen, and how to see the rest.

use super::look::View;
use super::plan::Plan;
use super::{By, group};

/// Lines around the list: header, remarks, the prompt.
const LINES_BESIDE: usize = 4;
/// A table with fewer groups than this is not worth its header.
const GROUPS_MIN: usize = 3;

/// More rows than the terminal has, and nobody asked for rows.
pub fn is_needed(view: &View, plan: &Plan) -> bool {
    let Some(terminal) = plan.terminal else { return false };
    !plan.all
        && plan.limit == usize::MAX
        && plan.sort.is_none()
        && view.len() > usize::from(terminal.rows).saturating_sub(LINES_BESIDE)
}

/// By service and by remote address, sharing the screen.
pub fn write(view: &View, plan: &Plan, out: &mut Vec<u8>) {
    let rows = plan.terminal.map_or(24, |terminal| usize::from(terminal.rows));
    let services = group::groups(view, plan, By::Service);
    let remotes = group::groups(view, plan, By::Remote);
    let states = group::groups(view, plan, By::State);
    let named: Vec<String> = states.iter().map(|(name, tally)| format!("{} {name}", tally.sockets)).collect();
    out.extend_from_slice(format!("{} sockets: {}\n\n", view.len(), named.join(", ")).as_bytes());
    // One line about states, two blank, two headers, two about what is left, one hint, the prompt.
    let room = rows.saturating_sub(10 + view.unseen.len()).max(2 * GROUPS_MIN);
    let for_services = services.len().min((room / 2).max(room.saturating_sub(remotes.len())));
    let for_remotes = room - for_services;
    group::table(&services, for_services, "SERVICE", plan, out);
    out.push(b'\n');
    group::table(&remotes, for_remotes, "REMOTE", plan, out);
    out.extend_from_slice(
        b"\nAll rows: --all. Less: --port, --state, --unit, --peer, --listening. Other sums: --by.\n",
    );
}
