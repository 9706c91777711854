//! The answer for a program: `mxray/ports-plan/1`. Keys are stable.

use super::Plan;
use super::decide::{Decision, Reason, exposure_words};
use super::edits::Edit;
use super::wish::{LowPorts, Wish};
use mxray_model::binding::Binding;
use mxray_model::evidence::{Exposure, V6Policy};
use serde_json::{Value, json};
use std::io::{self, Write};

const SCHEMA: &str = "mxray/ports-plan/1";

pub fn write(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    let decision = plan.decision.as_ref();
    let value = json!({
        "schema": SCHEMA,
        "question": question(&plan.wish, decision),
        "answer": decision.map_or("no", |decision| decision.answer.as_str()),
        "now": decision.map_or("no", |decision| decision.now.as_str()),
        "after_restart": decision.map_or("no", |decision| decision.after_restart.as_str()),
        "port": decision.map(|_| plan.wish.port),
        "chosen": plan.chosen.map(|(range, why)| json!({ "first": range.first, "last": range.last, "because": why })),
        "reasons": decision.map(|decision| decision.reasons.iter().map(reason).collect::<Vec<_>>()).unwrap_or_default(),
        "proposal": plan.proposal,
        "edits_for": plan.decision.as_ref().map(|_| plan.edits_for),
        "edits": plan.edits.iter().map(edit).collect::<Vec<_>>(),
        "reservation": plan.reservation.as_ref().map(|reservation| json!({
            "sysctl": reservation.line, "command": reservation.command, "incomplete": reservation.incomplete,
        })),
        "unseen": plan.unseen,
    });
    writeln!(out, "{value}")
}

fn question(wish: &Wish, decision: Option<&Decision>) -> Value {
    let (may, because) = match &wish.starter.low_ports {
        LowPorts::May { because } => (json!(true), because),
        LowPorts::MayNot { because, .. } => (json!(false), because),
        LowPorts::Unknown { why, .. } => (Value::Null, why),
    };
    json!({
        "service": wish.service,
        "protocol": wish.protocol,
        "addresses": wish.addresses,
        "v6": match wish.v6 {
            V6Policy::Any => "any",
            V6Policy::None => "none",
            V6Policy::Dual => "dual",
            V6Policy::Separate => "separate",
        },
        "reuse_port": wish.reuse_port,
        "exposure": match &wish.exposure {
            Exposure::Loopback => json!("loopback"),
            Exposure::Private => json!("private"),
            Exposure::Public => json!("public"),
            Exposure::Prefixes(prefixes) => json!(prefixes),
        },
        "exposure_text": exposure_words(&wish.exposure),
        "unit": wish.starter.unit,
        "user": wish.starter.user,
        "uid": wish.starter.uid,
        "user_assumed": wish.starter.assumed,
        "may_bind_low_ports": may,
        "may_bind_low_ports_because": because,
        "sockets": decision.map(|decision| decision.sockets.iter().map(socket).collect::<Vec<_>>()),
    })
}

fn socket(binding: &Binding) -> Value {
    json!({ "address": binding.address, "port": binding.port, "v6_only": binding.address.is_ipv6().then_some(binding.v6_only) })
}

/// Also of `ports free`.
pub fn reason(reason: &Reason) -> Value {
    json!({
        "code": reason.code,
        "weight": reason.weight.as_str(),
        "text": reason.text,
        "file": reason.at.as_ref().map(|at| &at.file),
        "line": reason.at.as_ref().map(|at| at.line),
        "unit": reason.unit,
        "pids": reason.pids,
        "remedy": reason.remedy,
    })
}

fn edit(edit: &Edit) -> Value {
    json!({
        "part": edit.part.as_str(),
        "tool": edit.tool,
        "text": edit.text,
        "file": edit.file,
        "lines": edit.lines,
        "commands": edit.commands,
    })
}
