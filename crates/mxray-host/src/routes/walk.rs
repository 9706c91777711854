//! The way that the kernel takes through rules and tables, gone once more to name the rule and the entry that decide.
//!
//! The kernel's own answer is the truth; it carries an errno but not what caused it. This walk is only believed where its
//! end is the kernel's (`Walk::ends_as`). Pure.

use super::table::{Action, Kind, Route, Rule};
use super::wire::Question;
use rustix::io::Errno;

/// Where the walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk<'a> {
    /// The rule that decided; `None`: no rule led anywhere.
    pub rule: Option<&'a Rule>,
    /// The entry that decided; `None`: the rule itself did, or nothing.
    pub route: Option<&'a Route>,
}

/// Goes through `rules` (in the kernel's order) and the `routes` that contain the destination.
pub fn walk<'a>(rules: &'a [Rule], routes: &'a [Route], question: &Question) -> Walk<'a> {
    let is_ipv4 = question.destination.is_ipv4();
    let mut skip_to = None;
    for rule in rules.iter().filter(|rule| rule.is_ipv4 == is_ipv4) {
        if skip_to.is_some_and(|priority| rule.priority < priority) {
            continue;
        }
        skip_to = None;
        if !matches(rule, question) {
            continue;
        }
        match rule.action {
            Action::Goto => skip_to = rule.goto,
            Action::Nop | Action::Other => {}
            Action::Blackhole | Action::Unreachable | Action::Prohibit => {
                return Walk { rule: Some(rule), route: None };
            }
            Action::Lookup => {
                if let Some(route) = best(rule, routes, question) {
                    return Walk { rule: Some(rule), route: Some(route) };
                }
            }
        }
    }
    Walk { rule: None, route: None }
}

/// The longest prefix of the rule's table, of those the one with the lowest metric; `None`: the search goes on.
fn best<'a>(rule: &Rule, routes: &'a [Route], question: &Question) -> Option<&'a Route> {
    let in_table = routes.iter().filter(|route| {
        route.table == rule.table
            && !route.cached
            && route.tos == 0
            && route.destination.contains(question.destination)
            && route.from.is_none_or(|from| question.source.is_some_and(|source| from.contains(source)))
            && (route.hops.is_empty() || route.hops.iter().any(|hop| !hop.is_dead()))
    });
    let found = in_table.min_by_key(|route| (u8::MAX - route.destination.length, route.metric))?;
    if found.kind == Kind::Throw {
        return None;
    }
    // What refuses is never suppressed: the kernel returns its errno before it looks (fib_rules_lookup).
    let suppressed = !found.kind.refuses()
        && rule.suppress_prefix_length.is_some_and(|length| u32::from(found.destination.length) <= length);
    (!suppressed).then_some(found)
}

fn matches(rule: &Rule, question: &Question) -> bool {
    const TCP: u8 = 6;
    let from = rule.from.is_none_or(|from| from.length == 0 || question.source.is_some_and(|s| from.contains(s)));
    let to = rule.to.is_none_or(|to| to.contains(question.destination));
    let mark = (question.mark ^ rule.mark) & rule.mask == 0;
    let user = rule.users.is_none_or(|(first, last)| question.uid.is_some_and(|uid| (first..=last).contains(&uid)));
    let port = rule.ports.is_none_or(|(first, last)| (first..=last).contains(&question.port));
    let all = from
        && to
        && mark
        && user
        && port
        && rule.tos == 0
        && rule.protocol.is_none_or(|protocol| protocol == TCP)
        && rule.source_ports.is_none()
        // What a host sends itself comes in nowhere: `iif lo` in the kernel's words.
        && rule.incoming.as_deref().is_none_or(|name| name == "lo")
        && rule.outgoing.is_none()
        && !rule.of_vrf;
    all != rule.invert
}

impl Walk<'_> {
    /// Is this the way that leads to the kernel's answer?
    pub fn ends_as(&self, outcome: Result<(), Errno>) -> bool {
        let here = match (self.rule.map(|rule| rule.action), self.route.map(|route| route.kind)) {
            (_, Some(Kind::Blackhole)) | (Some(Action::Blackhole), None) => Err(Errno::INVAL),
            (_, Some(Kind::Unreachable)) => Err(Errno::HOSTUNREACH),
            (_, Some(Kind::Prohibit)) | (Some(Action::Prohibit), None) => Err(Errno::ACCESS),
            // A rule says "network unreachable" where a route says "host" (fib4_rule_action).
            (Some(Action::Unreachable), None) | (None, None) => Err(Errno::NETUNREACH),
            (_, Some(_)) => Ok(()),
            (Some(_), None) => return false,
        };
        here == outcome
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::MAIN;
    use super::*;
    use mxray_model::Prefix;

    fn route(destination: &str, table: u32, kind: Kind) -> Route {
        Route {
            destination: destination.parse().unwrap(),
            from: None,
            tos: 0,
            table,
            protocol: 3,
            scope: 0,
            kind,
            metric: 0,
            hops: Vec::new(),
            prefer_source: None,
            next_hop_id: None,
            mtu: None,
            mtu_locked: false,
            expires_ms: None,
            cached: false,
        }
    }

    fn rule(priority: u32, table: u32) -> Rule {
        Rule { is_ipv4: true, priority, table, ..Rule::default() }
    }

    fn ask(destination: &str) -> Question {
        let destination = destination.parse().unwrap();
        Question { destination, source: None, uid: Some(107), mark: 0, port: 25 }
    }

    #[test]
    fn the_longest_prefix_of_the_first_table_that_has_one_decides() {
        let rules = [rule(0, 255), rule(100, 7), rule(32766, MAIN)];
        let routes = [
            route("0.0.0.0/0", MAIN, Kind::Unicast),
            route("192.0.2.0/24", MAIN, Kind::Blackhole),
            route("198.51.100.0/24", 7, Kind::Throw),
            route("198.51.100.0/24", MAIN, Kind::Prohibit),
        ];
        let end = |destination: &str| {
            let question = ask(destination);
            let walk = walk(&rules, &routes, &question);
            (walk.rule.unwrap().priority, walk.route.unwrap().kind)
        };
        assert_eq!(end("203.0.113.1"), (32766, Kind::Unicast));
        assert_eq!(end("192.0.2.9"), (32766, Kind::Blackhole));
        assert_eq!(end("198.51.100.1"), (32766, Kind::Prohibit));
    }

    #[test]
    fn selectors_are_the_kernels() {
        let prefix: Prefix = "192.0.2.0/24".parse().unwrap();
        let refusal = Rule { action: Action::Prohibit, ..rule(10, 0) };
        let routes = [route("0.0.0.0/0", MAIN, Kind::Unicast)];
        let refused = |first: Rule, question: Question| {
            let rules = [first, rule(32766, MAIN)];
            let walk = walk(&rules, &routes, &question);
            walk.ends_as(Err(Errno::ACCESS))
        };
        let question = ask("192.0.2.1");
        for (hits, rule) in [
            (true, Rule { users: Some((100, 107)), ..refusal.clone() }),
            (false, Rule { users: Some((108, 200)), ..refusal.clone() }),
            (true, Rule { to: Some(prefix), ..refusal.clone() }),
            (false, Rule { to: Some(prefix), invert: true, ..refusal.clone() }),
            (false, Rule { from: Some(prefix), ..refusal.clone() }),
            (true, Rule { ports: Some((25, 25)), protocol: Some(6), ..refusal.clone() }),
            (false, Rule { protocol: Some(17), ..refusal.clone() }),
            (false, Rule { mark: 1, mask: u32::MAX, ..refusal.clone() }),
            (true, Rule { mark: 1, mask: u32::MAX, invert: true, ..refusal.clone() }),
            (true, Rule { incoming: Some("lo".into()), ..refusal.clone() }),
            (false, Rule { incoming: Some("eth0".into()), ..refusal.clone() }),
        ] {
            assert_eq!(refused(rule.clone(), question), hits, "{rule:?}");
        }
        assert!(refused(Rule { from: Some(prefix), ..refusal }, Question { source: Some(prefix.address), ..question }));
    }

    #[test]
    fn a_goto_skips_and_a_suppressed_default_is_passed_over() {
        let jump = Rule { action: Action::Goto, goto: Some(200), ..rule(5, 0) };
        let between = Rule { action: Action::Prohibit, ..rule(100, 0) };
        let quiet = Rule { suppress_prefix_length: Some(0), ..rule(200, MAIN) };
        let rules = [jump, between, quiet, rule(300, 9)];
        let routes = [route("0.0.0.0/0", MAIN, Kind::Unicast), route("0.0.0.0/0", 9, Kind::Blackhole)];
        let question = ask("192.0.2.1");
        let end = walk(&rules, &routes, &question);
        assert_eq!(end.rule.unwrap().priority, 300);
        assert!(end.ends_as(Err(Errno::INVAL)));
    }
}
