//! Filters beside the queue: opendkim, opendmarc, rspamd, amavis, policy servers.

use crate::cut::{has, split, starts_with_any, value};
use crate::event::{Event, Severity};
use crate::postfix::{is_queue_id, queue_id};

/// One line. `None`: not understood.
pub fn read<'a>(tag: &[u8], text: &'a [u8]) -> Option<Event<'a>> {
    // A filter that names the message begins with its queue id.
    if let Some((id, rest)) = queue_id(text) {
        return Some(Event::Filtered { id, text: rest });
    }
    if tag.starts_with(b"rspamd") || text.first() == Some(&b'#') {
        return rspamd(text);
    }
    if tag.starts_with(b"amavis") {
        // `(!)` is an error in amavis' words, `(!!)` a grave one.
        if has(text, b"(!!)") {
            return Some(Event::Trouble { severity: Severity::Error, text });
        }
        let id = value(text, b"Queue-ID: ", b",").filter(|id| is_queue_id(id));
        return Some(id.map_or(Event::Remark, |id| Event::Filtered { id, text }));
    }
    // Short lines of small daemons: an error by its word, else a remark.
    let error = starts_with_any(text, &[b"error", b"can't ", b"cannot ", b"unable to "]);
    Some(if error { Event::Trouble { severity: Severity::Error, text } } else { Event::Remark })
}

/// Its own file: `#123(normal) <task>; task; rspamd_task_write_log: id: <…>, qid: <…>, …`; under syslog without the number.
fn rspamd(text: &[u8]) -> Option<Event<'_>> {
    // `spawn_workers: cannot listen on …`, `normal process 12 terminated abnormally by signal: 11`
    if has(text, b" terminated abnormally ") || has(text, b": cannot listen on ") {
        return Some(Event::Trouble { severity: Severity::Error, text });
    }
    let is_id = |id: &&[u8]| is_queue_id(id) || crate::exim::is_message_id(id);
    if let Some(id) = value(text, b"qid: <", b">").filter(is_id) {
        return Some(Event::Filtered { id, text });
    }
    // `<task>; module; function: text`, without a task where the process speaks of itself.
    let shape = split(text, b"; ").is_some_and(|(_, behind)| has(behind, b": "));
    shape.then_some(Event::Remark)
}
