//! Reports in prose: what programs wrote before the standard, and write beside it.
//!
//! The text up to what is returned is looked through line by line for lines that name recipients; what they say stands behind the
//! address or in the whole text. What must not live here: the words themselves (`forms.toml`).

use crate::causes::{Cause, Rules};
use crate::read::{Fields, Parts};

use super::forms::{Forms, addresses_in};
use super::{Action, Kind, Original, RECIPIENTS_MAX, Reading, Recipient, SAID_BYTES_MAX, SaidBy, clipped, judge};

/// What programs explain fits in this.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Lines that explain one of several recipients.
const LINES_OF_ONE: usize = 6;

/// The reporter's own words.
#[derive(Debug, Clone, Default)]
pub struct Prose {
    /// Up to what is returned.
    pub text: String,
    /// What is returned.
    rest: String,
}

impl Prose {
    pub fn of(parts: &Parts<'_>, forms: &Forms) -> Prose {
        let mut all = String::new();
        for kind in ["text/plain", "text", "text/html"] {
            for part in parts.own().filter(|part| part.kind == kind) {
                let text = part.text();
                all.push_str(text.strip_prefix('\n').unwrap_or(&text));
                all.push('\n');
                if all.len() > 2 * TEXT_BYTES_MAX {
                    break;
                }
            }
            if all.trim().len() > 20 {
                break;
            }
        }
        // A multipart whose boundary never comes: its text is all there is.
        if all.trim().is_empty()
            && let Some(root) = parts.parts.first().filter(|root| root.is_multipart() && parts.parts.len() == 1)
        {
            all = root.text();
        }
        let all = clipped(&all, 2 * TEXT_BYTES_MAX).replace('\r', "");
        let mut at = 0;
        for (number, line) in all.split_inclusive('\n').enumerate() {
            if number > 0 && begins_original(line, forms) {
                break;
            }
            at += line.len();
        }
        Prose { text: clipped(&all[..at], TEXT_BYTES_MAX), rest: all[at..].to_owned() }
    }

    /// What the returned header says, where the report has it as text.
    pub fn original(&self, original: &mut Original) {
        let plain: String = self.rest.lines().map(|line| line.trim_start_matches(['>', '|', ' '])).fold(
            String::new(),
            |mut all, line| {
                all.push_str(line);
                all.push('\n');
                all
            },
        );
        let fields = Fields::new(plain.as_bytes());
        let found = super::original_of(fields);
        original.message_id = found.message_id;
        original.from = original.from.take().or(found.from);
        original.subject = original.subject.take().or(found.subject);
        if original.to.is_empty() {
            original.to = found.to;
        }
    }

    /// The lines about one of several recipients, up to the next of `all`.
    pub fn about(&self, address: &str, all: &[String]) -> &str {
        let Some(at) = (!address.is_empty()).then(|| self.text.find(address)).flatten() else { return &self.text };
        let start = self.text[..at].rfind('\n').map_or(0, |line| line + 1);
        let mut end = start;
        for (number, line) in self.text[start..].split_inclusive('\n').enumerate() {
            let other = |own: &String| !own.is_empty() && own != address && line.contains(own.as_str());
            let next = number > 0 && line.contains('@') && !line.contains(address) && all.iter().any(other);
            if number == LINES_OF_ONE || next {
                break;
            }
            end += line.len();
        }
        &self.text[start..end]
    }

    /// The recipients that the text names.
    pub fn addresses(&self, forms: &Forms, original: &Original, head: Fields<'_>) -> Vec<String> {
        // To whom the report goes has sent the message, and who reports has not received it.
        let own: Vec<String> = ["to", "from", "return-path", "sender", "reply-to", "errors-to", "delivered-to"]
            .iter()
            .filter_map(|name| head.get(name))
            .flat_map(|value| addresses_in(&value))
            .collect();
        let is_own =
            |address: &str| own.iter().any(|own| own.eq_ignore_ascii_case(address)) || is_daemon_address(address);
        let lines: Vec<(&str, String)> =
            self.text.lines().map(|line| (line.trim(), line.trim().to_ascii_lowercase())).collect();
        if let Some(found) = local(&lines, forms, head) {
            return found;
        }
        let fitting = |exact: bool| forms.recipient.iter().filter(move |template| template.exact || !exact);
        let passes =
            fitting(false).map(|template| (template, false)).chain(fitting(true).map(|template| (template, true)));
        for (template, also_own) in passes {
            let mut found: Vec<String> = Vec::new();
            for (line, lower) in lines.iter().filter(|(line, _)| line.contains('@')) {
                if let Some(address) = template.read(line, lower)
                    && (also_own || !is_own(address))
                    && !found.iter().any(|known| known.eq_ignore_ascii_case(address))
                    && found.len() < RECIPIENTS_MAX
                {
                    found.push(address.to_owned());
                }
            }
            if !found.is_empty() {
                return found;
            }
        }
        let mut named = addresses_in(&self.text);
        named.retain(|address| !is_own(address));
        let sent_to: Vec<String> = named
            .iter()
            .filter(|address| original.to.iter().any(|to| to.eq_ignore_ascii_case(address)))
            .cloned()
            .collect();
        if !sent_to.is_empty() {
            return sent_to;
        }
        named.truncate(1);
        if named.is_empty() && original.to.len() == 1 {
            named.clone_from(&original.to);
        }
        named
    }

    /// Reads what has no fields.
    pub fn read(&self, parts: &Parts<'_>, head: Fields<'_>, forms: &Forms, reading: &mut Reading, rules: &Rules) {
        let failed: Vec<String> =
            head.all("x-failed-recipients").flat_map(|value| addresses_in(&value)).take(RECIPIENTS_MAX).collect();
        reading.kind = self.kind(parts, head, forms, !failed.is_empty());
        if !matches!(reading.kind, Kind::Failure | Kind::Delay) {
            return;
        }
        reading.form = "prose";
        let addresses = if failed.is_empty() { self.addresses(forms, &reading.original, head) } else { failed };
        // Nobody is named: that something failed is told all the same.
        let addresses = if addresses.is_empty() { vec![String::new()] } else { addresses };
        let alone = addresses.len() == 1;
        let all = addresses.clone();
        for address in addresses {
            let mut recipient = Recipient::new(address);
            let text = if alone { self.text.as_str() } else { self.about(&recipient.address, &all) };
            judge(text, "", rules, &mut recipient);
            if recipient.cause == Cause::Unknown && !alone {
                judge(&self.text, "", rules, &mut recipient);
            }
            if recipient.cause == Cause::Unknown
                && let Some(subject) = reading.subject.as_deref()
            {
                judge(subject, "", rules, &mut recipient);
            }
            let said = crate::causes::unwrap(text.as_bytes());
            recipient.said_by = match (said.host, said.codes.reply) {
                (Some(host), _) => SaidBy::Remote(String::from_utf8_lossy(host).into_owned()),
                (None, Some(_)) if said.words.len() < text.len() => SaidBy::Remote(String::new()),
                _ => SaidBy::Unknown,
            };
            recipient.reply = clipped(self.about(&recipient.address, &all).trim(), SAID_BYTES_MAX);
            recipient.action = Some(if reading.kind == Kind::Delay { Action::Delayed } else { Action::Failed });
            recipient.settled(reading.kind);
            reading.recipients.push(recipient);
        }
    }

    fn kind(&self, parts: &Parts<'_>, head: Fields<'_>, forms: &Forms, named: bool) -> Kind {
        let lower = self.text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let subject = crate::read::words(&head.get("subject").unwrap_or_default()).to_lowercase();
        let daemon = forms.is_daemon(head);
        let is_report = parts.head().get("content-type").is_some_and(|value| {
            value.to_ascii_lowercase().contains("delivery-status")
                || value.to_ascii_lowercase().starts_with("multipart/report")
        });
        let in_subject = forms.says_failure(&subject);
        // In whatever language: who speaks for a mail system and cites a reply that says no, reports a failure.
        let cites = daemon && cites_refusal(&self.text);
        let in_text = forms.says_failure(&lower) || cites;
        let exact = |line: &str| {
            forms
                .recipient
                .iter()
                .any(|form| form.exact && form.read(line.trim(), &line.trim().to_ascii_lowercase()).is_some())
        };
        let failed = named
            || is_report
            || in_subject && in_text
            || daemon && (in_text || in_subject || self.text.lines().any(exact));
        let late = forms.says_delay(&lower) || forms.says_delay(&subject);
        let null = head.get("return-path").is_some_and(|value| value.trim() == "<>");
        if forms.is_challenge(head, "") {
            return Kind::Challenge;
        }
        // Who is away says so first; what stands behind is the subject that is answered.
        let says_so = in_text && (daemon || in_subject && !forms.begins_automatic(&subject));
        if forms.is_automatic(head) && !(named || is_report || says_so) {
            return Kind::AutomaticReply;
        }
        match (failed, late) {
            (true, true) | (false, true) if daemon || failed => Kind::Delay,
            (true, _) => Kind::Failure,
            // Who answers automatically has no address for answers (RFC 3834 section 3.3).
            (false, _) if null && !forms.is_daemon_name(&head.get("from").unwrap_or_default()) => Kind::AutomaticReply,
            (false, _) => Kind::Other,
        }
    }
}

/// A reply that refuses for good, with both of its codes.
fn cites_refusal(text: &str) -> bool {
    let codes = crate::causes::unwrap(text.as_bytes()).codes;
    codes.reply.is_some_and(|reply| reply >= 500) && codes.enhanced.is_some_and(|(class, ..)| class == 5)
}

fn begins_original(line: &str, forms: &Forms) -> bool {
    let lower = line.trim().trim_start_matches('>').to_lowercase();
    forms.begins_original(&lower)
}

/// Users whom a system names without their domain.
fn local(lines: &[(&str, String)], forms: &Forms, head: Fields<'_>) -> Option<Vec<String>> {
    let form = forms.local.iter().find(|form| lines.iter().any(|(_, lower)| lower.contains(&form.sign)))?;
    let user = if form.before.is_empty() {
        let mut below = lines.iter().skip_while(|(_, lower)| !lower.contains(&form.sign)).skip(1);
        below.find(|(line, _)| !line.is_empty())?.0
    } else {
        lines.iter().find_map(|(line, lower)| line.get(..lower.find(&form.before)?))?.trim()
    };
    if user.is_empty() || user.contains([' ', '@']) {
        return None;
    }
    let reporter = head.get("from").map(|from| addresses_in(&from)).unwrap_or_default();
    let reporter = reporter.first().and_then(|from| from.split_once('@')).map(|(_, domain)| domain.to_owned());
    let domains = if form.domains.is_empty() { reporter.into_iter().collect() } else { form.domains.clone() };
    (!domains.is_empty()).then(|| domains.iter().map(|domain| format!("{user}@{domain}")).collect())
}

fn is_daemon_address(address: &str) -> bool {
    let lower = address.to_ascii_lowercase();
    ["mailer-daemon@", "postmaster@", "mailerdaemon@"].iter().any(|daemon| lower.starts_with(daemon))
}
