//! The one table of what explains what, and which of several codes that fit one fault wins.
//!
//! A link is only valid from a code that stands earlier in [`NEAREST_FIRST`] to a later one: the order is total, so
//! explanations cannot run in a circle. Nearest means nearest to the thing that must be changed: the process that holds
//! a port before the service that is missing, the switch in a file before the listener that it removes.

use mxray_model::Finding;
use std::collections::BTreeSet;

/// All codes, those nearest to the thing to change first.
pub const NEAREST_FIRST: &[&str] = &[
    "HOST111", "HOST101", "HOST102", // nothing can be written: what fails after that is a consequence
    "HOST109", "FW111", // the kernel kills, or drops
    "HOST106", "HOST103", "HOST110", // what every program here goes by
    "FW114", "FW101", "FW113", "FW102", // a rule of this host's own packet filter, seen in the ruleset
    "FW112", // and what the next start will make of it
    "PORT109", "PORT101", "PORT102", // the port cannot be had: the service cannot start
    "PORT103", "PORT106", "PORT111", "PORT104", // somebody has it who should not
    "CONF101", "CONF105", "CONF103", // switches in files
    "CONF104", "CONF108", "CONF109", "CONF107", "CONF110", // files and sockets that a switch names
    "ROUTE102", "ROUTE101", "ROUTE103", "ROUTE105", // nothing can leave, or not from there
    "ROUTE104", "ID108", // it leaves from the wrong address
    "HOST104", "HOST105", "HOST107", "LOOK001", "LOOK003", "LOOK004", // nobody says where to
    "DNS101", "DANE102", "DANE108", "DNS107", "DNS106", "DNS103", "DNS104", "LOOK002",
    "DANE101", // or nobody can be believed
    "MX106", "MX103", "MX104", "MX105", "MX108", "MX109", "MX110", "MX102", "MX107",
    "MX101",   // DNS says where to, and wrongly
    "CONF102", // it can leave, and is handed to the wrong host
    "ROUTE106", "LOOK005", // it leaves, and does not get far
    "ID104", "ID105", "ID101", "ID102", // it gets there in a name that nobody takes
    "LIST101", "LIST104", "LIST102", "LIST105", "LIST106", // or with a bad one
    "FW106", "MX114", "MX113",   // it gets there, and is not taken in
    "SOCK112", // nothing runs
    "SOCK111", // it runs, and is stopped or stuck
    "SOCK106", // somebody takes it all
    "SOCK115", // a program keeps what has ended
    "SOCK109", "SOCK110", // a limit is reached
    "PORT110", // what comes is taken elsewhere
    "SOCK102", "SOCK113", "SOCK105", "SOCK114", "SOCK108", "SOCK101", "PORT105", "PORT107", "PORT112", "SOCK103",
    "PORT108", "SOCK104", "SOCK107", "HOST108",
    // What is published for the way, beside what the servers do.
    "STS102", "STS104", "STS103", "STS105", "DANE106", "DANE105",
    // What a session showed: who stands in the way, what serves, who can log in, the rest.
    "LOOK006", "LOOK007", "SMTP111", "ABUSE103", "SMTP101", "MBOX107", "SMTP113", "SMTP103", "LOOK009", "DANE109",
    "TLS101", "TLS102", "TLS103", "TLS106", "TLS105", "TLS108", "TLS109", "TLS104", "AUTH108", "AUTH106", "AUTH101",
    "AUTH107", "AUTH103", "MBOX101", "MBOX102", "MBOX103", "SMTP112", "SMTP108", "SMTP107", "SMTP109", "SMTP102",
    "LOOK008", "LOOK010",
    // What a policy promises and a server does not keep; what leads users to a server that is not there.
    "STS106", "MBOX105", "DANE104", "STS110", "STS101", "STS109", "MBOX104",
    // What names say of our mail: keys and records first, then what becomes of mail by them.
    "DKIM110", "DKIM102", "DKIM103", "DKIM104", "DKIM105", "SPF102", "SPF103", "SPF108", "SPF107", "SPF104", "SPF106",
    "SPF112", "SPF101", "SPF117", "SPF109", "SPF110", "SPF111", "SPF119", "DMARC102", "DMARC103", "DMARC101",
    "DMARC107", "DMARC106", "DMARC105", "DMARC108", "DMARC111", "DMARC104", "DKIM106", "DKIM107", "DKIM101",
    // One mail: why it is not vouched for, then that it is not.
    "MAIL102", "MAIL103", "MAIL106", "MAIL101", "MAIL104", "MAIL108", "MAIL109",
    // What the log says of all this, and what waits because of it.
    "LOG106", "CONF106", "LOG104", "LOG105", "LOG102", "LOG101", "LOG107", "LOG108", "LOG103", "QUEUE103", "QUEUE102",
    "QUEUE101", "LOG110", "LOG109", // What others report a day later, and what differs from before.
    "DMARC114", "STS111", "LOG111", "DNS109",
];

/// On what two findings must agree for one to explain the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// They touch a common thing: the same server, the same port, the same directory.
    SharedScope,
}

/// `(cause, consequence, on what they agree)`
pub const LINKS: &[(&str, &str, Link)] = &[
    // A mail server without room in its queue refuses to start or to fork.
    ("HOST101", "SOCK112", Link::SharedScope),
    ("HOST101", "SOCK111", Link::SharedScope),
    ("HOST102", "SOCK112", Link::SharedScope),
    ("HOST102", "SOCK111", Link::SharedScope),
    ("HOST111", "SOCK112", Link::SharedScope),
    ("HOST111", "SOCK111", Link::SharedScope),
    // This host's own packet filter stops it: nobody is reached, and nobody answers.
    ("FW101", "FW112", Link::SharedScope),
    ("FW102", "FW112", Link::SharedScope),
    ("FW113", "FW112", Link::SharedScope),
    ("FW114", "FW112", Link::SharedScope),
    ("FW101", "MX113", Link::SharedScope),
    ("FW101", "MX114", Link::SharedScope),
    ("FW101", "LOOK005", Link::SharedScope),
    ("FW101", "ROUTE106", Link::SharedScope),
    ("FW101", "FW106", Link::SharedScope),
    ("FW101", "CONF102", Link::SharedScope),
    ("FW114", "MX113", Link::SharedScope),
    ("FW114", "MX114", Link::SharedScope),
    ("FW114", "LOOK005", Link::SharedScope),
    ("FW114", "ROUTE106", Link::SharedScope),
    ("FW114", "FW106", Link::SharedScope),
    ("FW114", "CONF102", Link::SharedScope),
    ("FW113", "HOST104", Link::SharedScope),
    ("FW113", "HOST105", Link::SharedScope),
    ("FW113", "LOOK001", Link::SharedScope),
    ("FW113", "CONF102", Link::SharedScope),
    ("FW113", "SMTP102", Link::SharedScope),
    // A helper that cannot be reached is as good as none.
    ("FW101", "SMTP101", Link::SharedScope),
    ("FW101", "SMTP102", Link::SharedScope),
    ("FW101", "SMTP103", Link::SharedScope),
    ("FW101", "LOOK007", Link::SharedScope),
    ("FW114", "SMTP101", Link::SharedScope),
    ("FW114", "SMTP102", Link::SharedScope),
    ("FW114", "SMTP103", Link::SharedScope),
    ("FW114", "LOOK007", Link::SharedScope),
    // What answers at the port is not the listener that was meant.
    ("PORT110", "SMTP103", Link::SharedScope),
    ("PORT110", "TLS102", Link::SharedScope),
    // The address was never meant to send: that names know nothing of it is the smaller part.
    ("ROUTE104", "ID108", Link::SharedScope),
    ("ROUTE104", "ID101", Link::SharedScope),
    ("ROUTE104", "ID102", Link::SharedScope),
    ("ROUTE104", "LIST101", Link::SharedScope),
    ("ROUTE104", "SPF117", Link::SharedScope),
    ("ID108", "SPF117", Link::SharedScope),
    ("ID108", "ID101", Link::SharedScope),
    ("ID108", "ID102", Link::SharedScope),
    // The kernel takes another address where the configured one is missing.
    ("ROUTE105", "ROUTE104", Link::SharedScope),
    ("ROUTE105", "ID108", Link::SharedScope),
    // A domain that takes no mail by its own word.
    ("MX106", "MX103", Link::SharedScope),
    // Reports go to the domain itself, like all other mail.
    ("MX102", "DMARC106", Link::SharedScope),
    ("MX103", "DMARC106", Link::SharedScope),
    ("MX105", "DMARC106", Link::SharedScope),
    ("MX106", "DMARC106", Link::SharedScope),
    ("MX108", "DMARC106", Link::SharedScope),
    ("MX109", "DMARC106", Link::SharedScope),
    ("MX110", "DMARC106", Link::SharedScope),
    // An address that is none is no address for reports.
    ("DMARC106", "DMARC105", Link::SharedScope),
    // Nothing leaves this host, or leads nowhere: nobody can be reached.
    ("ROUTE101", "MX113", Link::SharedScope),
    ("ROUTE102", "MX113", Link::SharedScope),
    ("ROUTE103", "MX113", Link::SharedScope),
    ("ROUTE105", "MX113", Link::SharedScope),
    ("ROUTE106", "MX113", Link::SharedScope),
    ("ROUTE106", "MX114", Link::SharedScope),
    ("LOOK005", "MX113", Link::SharedScope),
    // The setting leads to a host on which nothing listens.
    ("CONF102", "FW106", Link::SharedScope),
    ("CONF102", "SMTP101", Link::SharedScope),
    ("CONF102", "LOOK006", Link::SharedScope),
    ("CONF102", "AUTH106", Link::SharedScope),
    // A port of this host that is refused is one that users cannot use.
    ("FW106", "AUTH103", Link::SharedScope),
    // Before they greet, most servers look up the client's name.
    ("HOST104", "SMTP102", Link::SharedScope),
    ("HOST105", "SMTP102", Link::SharedScope),
    // Who holds the port answers there, in its own way.
    ("PORT101", "SMTP101", Link::SharedScope),
    ("PORT101", "SMTP103", Link::SharedScope),
    ("PORT101", "MBOX107", Link::SharedScope),
    ("PORT101", "TLS101", Link::SharedScope),
    ("PORT101", "TLS102", Link::SharedScope),
    // The server that was meant is not there; what answers is something else, or is there at some addresses only.
    ("SOCK112", "SMTP101", Link::SharedScope),
    ("SOCK112", "SMTP103", Link::SharedScope),
    ("SOCK112", "MBOX107", Link::SharedScope),
    ("SOCK112", "TLS102", Link::SharedScope),
    ("SOCK112", "LOOK009", Link::SharedScope),
    ("SOCK101", "SMTP101", Link::SharedScope),
    ("SOCK101", "MBOX107", Link::SharedScope),
    ("SOCK101", "LOOK009", Link::SharedScope),
    ("SOCK113", "LOOK009", Link::SharedScope),
    // Without a helper a server ends, turns clients away or has them wait.
    ("SOCK114", "SMTP101", Link::SharedScope),
    ("SOCK114", "SMTP102", Link::SharedScope),
    ("SOCK114", "SMTP103", Link::SharedScope),
    ("SOCK114", "LOOK007", Link::SharedScope),
    // Dovecot's login processes greet nobody without the sockets of its other processes.
    ("SOCK114", "MBOX107", Link::SharedScope),
    ("SOCK114", "TLS102", Link::SharedScope),
    // Nobody there, or too few.
    ("SOCK111", "SMTP103", Link::SharedScope),
    ("SOCK109", "SMTP103", Link::SharedScope),
    ("SOCK110", "SMTP103", Link::SharedScope),
    ("SOCK111", "MBOX107", Link::SharedScope),
    ("SOCK109", "MBOX107", Link::SharedScope),
    ("SOCK110", "MBOX107", Link::SharedScope),
    // The box that takes STARTTLS away does not know EHLO.
    ("SMTP111", "SMTP103", Link::SharedScope),
    // All those that cannot be reached refuse themselves.
    ("FW106", "MX113", Link::SharedScope),
    // Whoever was killed for want of memory is gone.
    ("HOST109", "SOCK112", Link::SharedScope),
    ("HOST109", "SOCK111", Link::SharedScope),
    // Postfix's master ends when one of its ports cannot be bound.
    ("PORT109", "SOCK112", Link::SharedScope),
    ("PORT109", "SOCK101", Link::SharedScope),
    // Who has the port now and who would have it after a restart.
    ("PORT101", "PORT102", Link::SharedScope),
    // Two share it now, by what their files ask for.
    ("PORT102", "PORT103", Link::SharedScope),
    // A mail server that is enabled beside the one that has the port.
    ("PORT102", "SOCK112", Link::SharedScope),
    ("PORT101", "SOCK112", Link::SharedScope),
    ("PORT101", "SOCK101", Link::SharedScope),
    ("PORT101", "SOCK102", Link::SharedScope),
    ("PORT101", "SOCK104", Link::SharedScope),
    ("PORT101", "SOCK111", Link::SharedScope),
    // Who has what was assigned to another, and what is missing because of it.
    ("PORT101", "PORT105", Link::SharedScope),
    ("PORT101", "PORT106", Link::SharedScope),
    ("PORT101", "PORT104", Link::SharedScope),
    ("PORT109", "PORT105", Link::SharedScope),
    ("PORT102", "PORT105", Link::SharedScope),
    ("FW102", "PORT107", Link::SharedScope),
    ("PORT110", "PORT107", Link::SharedScope),
    ("PORT103", "PORT106", Link::SharedScope),
    ("PORT103", "PORT104", Link::SharedScope),
    ("PORT106", "PORT107", Link::SharedScope),
    ("PORT111", "PORT104", Link::SharedScope),
    ("PORT112", "AUTH101", Link::SharedScope),
    ("PORT112", "AUTH107", Link::SharedScope),
    ("PORT112", "TLS101", Link::SharedScope),
    ("PORT112", "TLS102", Link::SharedScope),
    ("CONF101", "PORT105", Link::SharedScope),
    ("CONF103", "PORT105", Link::SharedScope),
    ("ROUTE105", "PORT105", Link::SharedScope),
    ("SOCK112", "PORT105", Link::SharedScope),
    ("SOCK102", "PORT105", Link::SharedScope),
    ("SOCK102", "PORT107", Link::SharedScope),
    ("SOCK101", "PORT105", Link::SharedScope),
    ("SOCK101", "PORT107", Link::SharedScope),
    // A service or a table that its own programs ask for and that is not there: they wait, give up, and say so.
    ("CONF101", "SOCK111", Link::SharedScope),
    ("CONF101", "SMTP101", Link::SharedScope),
    ("CONF101", "TLS102", Link::SharedScope),
    ("CONF101", "AUTH108", Link::SharedScope),
    ("CONF101", "LOG106", Link::SharedScope),
    ("CONF101", "CONF110", Link::SharedScope),
    ("CONF110", "SOCK111", Link::SharedScope),
    ("CONF110", "SMTP101", Link::SharedScope),
    ("CONF110", "LOG106", Link::SharedScope),
    ("CONF110", "LOG108", Link::SharedScope),
    ("CONF110", "LOG103", Link::SharedScope),
    ("CONF110", "QUEUE101", Link::SharedScope),
    ("CONF110", "QUEUE102", Link::SharedScope),
    ("CONF110", "SMTP103", Link::SharedScope),
    ("CONF110", "TLS102", Link::SharedScope),
    ("HOST111", "SOCK114", Link::SharedScope),
    ("HOST111", "SMTP101", Link::SharedScope),
    ("HOST111", "TLS102", Link::SharedScope),
    // A service that its own configuration disables.
    ("CONF101", "SOCK101", Link::SharedScope),
    // The socket that is asked is not the one on which the signer listens.
    ("CONF108", "SOCK114", Link::SharedScope),
    // What cannot be bound is not served, and ends most servers.
    ("ROUTE105", "SOCK101", Link::SharedScope),
    ("ROUTE105", "SOCK102", Link::SharedScope),
    ("ROUTE105", "SOCK112", Link::SharedScope),
    // Nobody is reached, name servers neither; and a stale copy of resolv.conf names those that are dead.
    ("FW111", "HOST104", Link::SharedScope),
    ("HOST106", "HOST104", Link::SharedScope),
    ("HOST106", "HOST105", Link::SharedScope),
    ("HOST106", "LOOK001", Link::SharedScope),
    ("ROUTE101", "HOST104", Link::SharedScope),
    ("ROUTE102", "HOST104", Link::SharedScope),
    ("ROUTE103", "HOST104", Link::SharedScope),
    ("ROUTE101", "HOST105", Link::SharedScope),
    ("ROUTE102", "HOST105", Link::SharedScope),
    ("ROUTE103", "HOST105", Link::SharedScope),
    // Whoever asks the dead gets no answer.
    ("HOST104", "LOOK001", Link::SharedScope),
    ("HOST104", "LOOK002", Link::SharedScope),
    // A domain that is not there has no way for mail; one whose signatures do not hold has no answers.
    ("DNS101", "MX102", Link::SharedScope),
    ("DNS101", "SPF101", Link::SharedScope),
    ("DNS101", "DMARC101", Link::SharedScope),
    ("DANE102", "LOOK002", Link::SharedScope),
    ("DANE102", "DANE108", Link::SharedScope),
    ("DANE108", "LOOK002", Link::SharedScope),
    ("DNS103", "LOOK002", Link::SharedScope),
    // A damaged record, one that a wildcard stands for, and an alias that leads nowhere are what readers stumble over.
    ("DNS107", "SPF101", Link::SharedScope),
    ("DNS107", "SPF103", Link::SharedScope),
    ("DNS107", "SPF117", Link::SharedScope),
    ("DNS107", "DKIM104", Link::SharedScope),
    ("DNS107", "DMARC101", Link::SharedScope),
    ("DNS107", "DMARC103", Link::SharedScope),
    ("DNS107", "STS102", Link::SharedScope),
    ("DNS107", "STS110", Link::SharedScope),
    ("DNS104", "STS102", Link::SharedScope),
    ("DNS104", "STS110", Link::SharedScope),
    ("DNS104", "DMARC101", Link::SharedScope),
    ("DNS104", "DMARC103", Link::SharedScope),
    ("DNS106", "DKIM102", Link::SharedScope),
    ("DNS106", "DMARC101", Link::SharedScope),
    ("HOST105", "LOOK001", Link::SharedScope),
    ("HOST104", "CONF102", Link::SharedScope),
    // No server, no listeners.
    ("SOCK112", "SOCK101", Link::SharedScope),
    ("SOCK112", "SOCK102", Link::SharedScope),
    // A service that Dovecot makes for Postfix.
    ("SOCK112", "SOCK114", Link::SharedScope),
    ("SOCK111", "SOCK114", Link::SharedScope),
    // A stopped process accepts nothing, so its peers pile up.
    ("SOCK111", "SOCK101", Link::SharedScope),
    ("SOCK111", "SOCK104", Link::SharedScope),
    ("SOCK111", "SOCK106", Link::SharedScope),
    ("SOCK111", "SOCK109", Link::SharedScope),
    ("SOCK111", "SOCK110", Link::SharedScope),
    // It closes nothing while it is stopped.
    ("SOCK111", "SOCK115", Link::SharedScope),
    // What is never closed fills descriptors and processes.
    ("SOCK115", "SOCK109", Link::SharedScope),
    ("SOCK115", "SOCK110", Link::SharedScope),
    // Whoever holds the connections reaches the limits for all others.
    ("SOCK106", "SOCK104", Link::SharedScope),
    ("SOCK106", "SOCK109", Link::SharedScope),
    ("SOCK106", "SOCK110", Link::SharedScope),
    // A spike of one address is that address; and where nobody is served, clients pile up.
    ("SOCK106", "SOCK107", Link::SharedScope),
    ("SOCK111", "SOCK107", Link::SharedScope),
    ("SOCK109", "SOCK107", Link::SharedScope),
    ("SOCK110", "SOCK107", Link::SharedScope),
    ("SOCK114", "SOCK107", Link::SharedScope),
    ("SOCK104", "SOCK107", Link::SharedScope),
    // Out of descriptors or processes: nobody accepts.
    ("SOCK109", "SOCK104", Link::SharedScope),
    ("SOCK109", "SOCK110", Link::SharedScope),
    ("SOCK110", "SOCK104", Link::SharedScope),
    // What keeps the ports for users closed.
    ("PORT109", "AUTH103", Link::SharedScope),
    ("PORT101", "AUTH103", Link::SharedScope),
    ("CONF101", "AUTH103", Link::SharedScope),
    ("CONF103", "AUTH103", Link::SharedScope),
    ("SOCK112", "AUTH103", Link::SharedScope),
    ("SOCK102", "AUTH103", Link::SharedScope),
    ("SOCK101", "AUTH103", Link::SharedScope),
    // Without the service that checks passwords nobody logs in, and Postfix may offer nothing.
    ("SOCK114", "AUTH106", Link::SharedScope),
    ("SOCK114", "AUTH108", Link::SharedScope),
    // A service without processes closes connections, greets late or has its clients come again.
    ("SOCK111", "SMTP101", Link::SharedScope),
    ("SOCK109", "SMTP101", Link::SharedScope),
    ("SOCK110", "SMTP101", Link::SharedScope),
    ("SOCK111", "SMTP102", Link::SharedScope),
    ("SOCK110", "SMTP102", Link::SharedScope),
    ("SOCK104", "SMTP102", Link::SharedScope),
    ("SOCK106", "LOOK007", Link::SharedScope),
    ("SOCK110", "LOOK007", Link::SharedScope),
    // A key that does not fit: TLS is announced and refused, or not announced.
    ("CONF104", "TLS101", Link::SharedScope),
    ("CONF104", "TLS102", Link::SharedScope),
    // By the right time they are valid.
    ("HOST103", "TLS103", Link::SharedScope),
    // Nobody there to shake hands.
    ("SOCK111", "TLS102", Link::SharedScope),
    ("SOCK109", "TLS102", Link::SharedScope),
    ("SOCK110", "TLS102", Link::SharedScope),
    // Taken away on the path.
    ("SMTP111", "TLS101", Link::SharedScope),
    ("SMTP111", "TLS102", Link::SharedScope),
    // Replies out of step: whatever else is read from them is theirs.
    ("SMTP113", "SMTP103", Link::SharedScope),
    ("SMTP113", "TLS101", Link::SharedScope),
    ("SMTP113", "TLS102", Link::SharedScope),
    ("SMTP113", "STS106", Link::SharedScope),
    ("SMTP113", "DANE109", Link::SharedScope),
    // Nothing but TLS is missing.
    ("TLS101", "SMTP112", Link::SharedScope),
    ("TLS102", "SMTP112", Link::SharedScope),
    // TLSA records make of missing TLS what stops mail.
    ("DANE109", "TLS101", Link::SharedScope),
    ("CONF104", "DANE109", Link::SharedScope),
    ("PORT101", "DANE109", Link::SharedScope),
    ("SMTP111", "DANE109", Link::SharedScope),
    // What a policy promises, and why it is not kept.
    ("CONF104", "STS106", Link::SharedScope),
    ("HOST103", "STS106", Link::SharedScope),
    ("SMTP111", "STS106", Link::SharedScope),
    ("DANE109", "STS106", Link::SharedScope),
    ("TLS101", "STS106", Link::SharedScope),
    ("TLS102", "STS106", Link::SharedScope),
    ("TLS103", "STS106", Link::SharedScope),
    ("TLS105", "STS106", Link::SharedScope),
    ("TLS106", "STS106", Link::SharedScope),
    // Users' programs are led to a service that is not there, or not as it should be.
    ("PORT101", "MBOX105", Link::SharedScope),
    ("CONF101", "MBOX105", Link::SharedScope),
    ("CONF103", "MBOX105", Link::SharedScope),
    ("FW106", "MBOX105", Link::SharedScope),
    ("SOCK112", "MBOX105", Link::SharedScope),
    ("SOCK102", "MBOX105", Link::SharedScope),
    ("SOCK101", "MBOX105", Link::SharedScope),
    ("TLS103", "MBOX105", Link::SharedScope),
    ("TLS105", "MBOX105", Link::SharedScope),
    ("TLS106", "MBOX105", Link::SharedScope),
    // Without TLS passwords are offered in clear, or logins not at all.
    ("TLS101", "AUTH108", Link::SharedScope),
    ("TLS101", "AUTH101", Link::SharedScope),
    ("TLS101", "AUTH107", Link::SharedScope),
    ("TLS101", "MBOX101", Link::SharedScope),
    ("TLS101", "MBOX102", Link::SharedScope),
    ("TLS101", "MBOX103", Link::SharedScope),
    ("TLS102", "AUTH108", Link::SharedScope),
    // Old versions are all that it speaks.
    ("TLS102", "TLS108", Link::SharedScope),
    ("TLS102", "TLS109", Link::SharedScope),
    ("TLS108", "TLS109", Link::SharedScope),
    // Mail leaves from another address than it is meant to.
    ("ROUTE105", "SPF117", Link::SharedScope),
    // A record that cannot be evaluated lets nobody pass; and each way to spoil it ends in the same.
    ("SPF102", "SPF117", Link::SharedScope),
    ("SPF103", "SPF117", Link::SharedScope),
    ("SPF104", "SPF117", Link::SharedScope),
    ("SPF106", "SPF117", Link::SharedScope),
    ("SPF107", "SPF117", Link::SharedScope),
    ("SPF108", "SPF117", Link::SharedScope),
    ("SPF112", "SPF117", Link::SharedScope),
    // Records that lead back to themselves cost without end.
    ("SPF108", "SPF104", Link::SharedScope),
    // A mail that nothing vouches for: what is wrong with its signature, or that there is none.
    ("MAIL102", "MAIL108", Link::SharedScope),
    ("MAIL103", "MAIL108", Link::SharedScope),
    ("MAIL106", "MAIL108", Link::SharedScope),
    ("MAIL101", "MAIL108", Link::SharedScope),
    ("MAIL104", "MAIL108", Link::SharedScope),
    ("MAIL102", "MAIL109", Link::SharedScope),
    ("MAIL103", "MAIL109", Link::SharedScope),
    ("MAIL106", "MAIL109", Link::SharedScope),
    ("MAIL101", "MAIL109", Link::SharedScope),
    ("MAIL104", "MAIL109", Link::SharedScope),
    // What stops mail stands in the log, and lets it wait.
    ("HOST111", "LOG108", Link::SharedScope),
    ("HOST111", "QUEUE102", Link::SharedScope),
    ("HOST111", "QUEUE101", Link::SharedScope),
    ("HOST101", "LOG108", Link::SharedScope),
    ("HOST101", "QUEUE102", Link::SharedScope),
    ("HOST101", "QUEUE101", Link::SharedScope),
    ("HOST102", "LOG108", Link::SharedScope),
    ("HOST102", "QUEUE102", Link::SharedScope),
    ("HOST102", "QUEUE101", Link::SharedScope),
    ("HOST109", "LOG108", Link::SharedScope),
    ("HOST109", "QUEUE102", Link::SharedScope),
    ("HOST109", "QUEUE101", Link::SharedScope),
    ("HOST106", "LOG108", Link::SharedScope),
    ("HOST106", "QUEUE102", Link::SharedScope),
    ("HOST106", "QUEUE101", Link::SharedScope),
    ("HOST103", "LOG108", Link::SharedScope),
    ("HOST103", "QUEUE102", Link::SharedScope),
    ("HOST103", "QUEUE101", Link::SharedScope),
    ("FW114", "LOG108", Link::SharedScope),
    ("FW114", "QUEUE102", Link::SharedScope),
    ("FW114", "QUEUE101", Link::SharedScope),
    ("FW101", "LOG108", Link::SharedScope),
    ("FW101", "QUEUE102", Link::SharedScope),
    ("FW101", "QUEUE101", Link::SharedScope),
    ("FW113", "LOG108", Link::SharedScope),
    ("FW113", "QUEUE102", Link::SharedScope),
    ("FW113", "QUEUE101", Link::SharedScope),
    ("FW111", "LOG108", Link::SharedScope),
    ("FW111", "QUEUE102", Link::SharedScope),
    ("FW111", "QUEUE101", Link::SharedScope),
    ("CONF101", "LOG108", Link::SharedScope),
    ("CONF101", "QUEUE102", Link::SharedScope),
    ("CONF101", "QUEUE101", Link::SharedScope),
    ("ROUTE102", "LOG108", Link::SharedScope),
    ("ROUTE102", "QUEUE102", Link::SharedScope),
    ("ROUTE102", "QUEUE101", Link::SharedScope),
    ("ROUTE101", "LOG108", Link::SharedScope),
    ("ROUTE101", "QUEUE102", Link::SharedScope),
    ("ROUTE101", "QUEUE101", Link::SharedScope),
    ("ROUTE103", "LOG108", Link::SharedScope),
    ("ROUTE103", "QUEUE102", Link::SharedScope),
    ("ROUTE103", "QUEUE101", Link::SharedScope),
    ("ROUTE105", "LOG108", Link::SharedScope),
    ("ROUTE105", "QUEUE102", Link::SharedScope),
    ("ROUTE105", "QUEUE101", Link::SharedScope),
    ("HOST104", "LOG108", Link::SharedScope),
    ("HOST104", "QUEUE102", Link::SharedScope),
    ("HOST104", "QUEUE101", Link::SharedScope),
    ("HOST105", "LOG108", Link::SharedScope),
    ("HOST105", "QUEUE102", Link::SharedScope),
    ("HOST105", "QUEUE101", Link::SharedScope),
    ("LOOK001", "LOG108", Link::SharedScope),
    ("LOOK001", "QUEUE102", Link::SharedScope),
    ("LOOK001", "QUEUE101", Link::SharedScope),
    ("CONF102", "LOG108", Link::SharedScope),
    ("CONF102", "QUEUE102", Link::SharedScope),
    ("CONF102", "QUEUE101", Link::SharedScope),
    ("ROUTE106", "LOG108", Link::SharedScope),
    ("ROUTE106", "QUEUE102", Link::SharedScope),
    ("ROUTE106", "QUEUE101", Link::SharedScope),
    ("LOOK005", "LOG108", Link::SharedScope),
    ("LOOK005", "QUEUE102", Link::SharedScope),
    ("LOOK005", "QUEUE101", Link::SharedScope),
    ("FW106", "LOG108", Link::SharedScope),
    ("FW106", "QUEUE102", Link::SharedScope),
    ("FW106", "QUEUE101", Link::SharedScope),
    ("MX114", "LOG108", Link::SharedScope),
    ("MX114", "QUEUE102", Link::SharedScope),
    ("MX114", "QUEUE101", Link::SharedScope),
    ("MX113", "LOG108", Link::SharedScope),
    ("MX113", "QUEUE102", Link::SharedScope),
    ("MX113", "QUEUE101", Link::SharedScope),
    ("SOCK112", "LOG108", Link::SharedScope),
    ("SOCK112", "QUEUE102", Link::SharedScope),
    ("SOCK112", "QUEUE101", Link::SharedScope),
    ("SOCK111", "LOG108", Link::SharedScope),
    ("SOCK111", "QUEUE102", Link::SharedScope),
    ("SOCK111", "QUEUE101", Link::SharedScope),
    ("SOCK109", "LOG108", Link::SharedScope),
    ("SOCK109", "QUEUE102", Link::SharedScope),
    ("SOCK109", "QUEUE101", Link::SharedScope),
    ("SOCK110", "LOG108", Link::SharedScope),
    ("SOCK110", "QUEUE102", Link::SharedScope),
    ("SOCK110", "QUEUE101", Link::SharedScope),
    ("SOCK114", "LOG108", Link::SharedScope),
    ("SOCK114", "QUEUE102", Link::SharedScope),
    ("SOCK114", "QUEUE101", Link::SharedScope),
    ("SOCK108", "LOG108", Link::SharedScope),
    ("SOCK108", "QUEUE102", Link::SharedScope),
    ("SOCK108", "QUEUE101", Link::SharedScope),
    ("LOOK006", "LOG108", Link::SharedScope),
    ("LOOK006", "QUEUE102", Link::SharedScope),
    ("LOOK006", "QUEUE101", Link::SharedScope),
    ("LOOK007", "LOG108", Link::SharedScope),
    ("LOOK007", "QUEUE102", Link::SharedScope),
    ("LOOK007", "QUEUE101", Link::SharedScope),
    ("SMTP111", "LOG108", Link::SharedScope),
    ("SMTP111", "QUEUE102", Link::SharedScope),
    ("SMTP111", "QUEUE101", Link::SharedScope),
    ("SMTP101", "LOG108", Link::SharedScope),
    ("SMTP101", "QUEUE102", Link::SharedScope),
    ("SMTP101", "QUEUE101", Link::SharedScope),
    ("SMTP103", "LOG108", Link::SharedScope),
    ("SMTP103", "QUEUE102", Link::SharedScope),
    ("SMTP103", "QUEUE101", Link::SharedScope),
    ("TLS101", "LOG108", Link::SharedScope),
    ("TLS101", "QUEUE102", Link::SharedScope),
    ("TLS101", "QUEUE101", Link::SharedScope),
    ("TLS102", "LOG108", Link::SharedScope),
    ("TLS102", "QUEUE102", Link::SharedScope),
    ("TLS102", "QUEUE101", Link::SharedScope),
    ("TLS103", "LOG108", Link::SharedScope),
    ("TLS103", "QUEUE102", Link::SharedScope),
    ("TLS103", "QUEUE101", Link::SharedScope),
    ("TLS105", "LOG108", Link::SharedScope),
    ("TLS105", "QUEUE102", Link::SharedScope),
    ("TLS105", "QUEUE101", Link::SharedScope),
    ("AUTH106", "LOG108", Link::SharedScope),
    ("AUTH106", "QUEUE102", Link::SharedScope),
    ("AUTH106", "QUEUE101", Link::SharedScope),
    ("AUTH101", "LOG108", Link::SharedScope),
    ("AUTH101", "QUEUE102", Link::SharedScope),
    ("AUTH101", "QUEUE101", Link::SharedScope),
    ("SMTP102", "LOG108", Link::SharedScope),
    ("SMTP102", "QUEUE102", Link::SharedScope),
    ("SMTP102", "QUEUE101", Link::SharedScope),
    ("CONF101", "LOG103", Link::SharedScope),
    ("CONF102", "LOG103", Link::SharedScope),
    ("FW101", "LOG103", Link::SharedScope),
    ("FW114", "LOG103", Link::SharedScope),
    ("ROUTE102", "LOG103", Link::SharedScope),
    ("ROUTE101", "LOG103", Link::SharedScope),
    ("ROUTE103", "LOG103", Link::SharedScope),
    ("HOST104", "LOG103", Link::SharedScope),
    ("HOST105", "LOG103", Link::SharedScope),
    ("MX113", "LOG103", Link::SharedScope),
    ("LOOK005", "LOG103", Link::SharedScope),
    ("LOOK007", "LOG103", Link::SharedScope),
    ("SMTP109", "LOG103", Link::SharedScope),
    ("LOG106", "LOG103", Link::SharedScope),
    ("SOCK114", "LOG103", Link::SharedScope),
    ("SOCK111", "LOG103", Link::SharedScope),
    ("HOST104", "LOG110", Link::SharedScope),
    ("HOST105", "LOG110", Link::SharedScope),
    ("FW113", "LOG110", Link::SharedScope),
    ("ROUTE106", "LOG110", Link::SharedScope),
    ("SOCK114", "LOG110", Link::SharedScope),
    ("LOOK001", "LOG110", Link::SharedScope),
    ("LOOK007", "LOG110", Link::SharedScope),
    ("SMTP102", "LOG110", Link::SharedScope),
    ("HOST111", "LOG106", Link::SharedScope),
    ("HOST101", "LOG106", Link::SharedScope),
    ("HOST102", "LOG106", Link::SharedScope),
    ("HOST109", "LOG106", Link::SharedScope),
    ("PORT109", "LOG106", Link::SharedScope),
    ("PORT101", "LOG106", Link::SharedScope),
    ("CONF104", "LOG106", Link::SharedScope),
    ("CONF103", "LOG106", Link::SharedScope),
    ("CONF107", "LOG106", Link::SharedScope),
    ("ROUTE105", "LOG106", Link::SharedScope),
    ("SOCK112", "LOG106", Link::SharedScope),
    ("SOCK111", "LOG106", Link::SharedScope),
    ("SOCK109", "LOG106", Link::SharedScope),
    ("SOCK110", "LOG106", Link::SharedScope),
    ("SOCK114", "LOG106", Link::SharedScope),
    ("CONF101", "QUEUE103", Link::SharedScope),
    ("SMTP109", "LOG108", Link::SharedScope),
    ("SMTP109", "QUEUE101", Link::SharedScope),
    ("SMTP109", "LOG110", Link::SharedScope),
    ("LOG106", "LOG108", Link::SharedScope),
    ("LOG106", "QUEUE102", Link::SharedScope),
    ("LOG106", "QUEUE101", Link::SharedScope),
    ("CONF106", "LOG101", Link::SharedScope),
    ("CONF106", "LOG108", Link::SharedScope),
    ("CONF106", "QUEUE101", Link::SharedScope),
    ("LOG104", "LOG101", Link::SharedScope),
    ("LOG104", "LOG102", Link::SharedScope),
    ("LOG104", "LOG108", Link::SharedScope),
    ("LOG104", "LOG103", Link::SharedScope),
    ("LOG104", "QUEUE101", Link::SharedScope),
    ("LOG102", "LOG108", Link::SharedScope),
    ("LOG102", "LOG103", Link::SharedScope),
    ("LOG101", "LOG108", Link::SharedScope),
    ("LOG108", "LOG103", Link::SharedScope),
    ("LOG108", "QUEUE102", Link::SharedScope),
    ("LOG108", "QUEUE101", Link::SharedScope),
    ("LOG103", "QUEUE101", Link::SharedScope),
    ("QUEUE102", "QUEUE101", Link::SharedScope),
    ("LOG103", "LOG110", Link::SharedScope),
];

/// The codes that could explain one of these findings.
pub fn may_explain(findings: &[Finding]) -> BTreeSet<&'static str> {
    let found: BTreeSet<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
    LINKS.iter().filter(|(_, to, _)| found.contains(to)).map(|(from, _, _)| *from).collect()
}

/// Does one finding explain the other? A notice explains nothing: folded under it, a fault would vanish.
pub fn explains(cause: &Finding, consequence: &Finding) -> bool {
    cause.severity.can_be_cause()
        && LINKS.iter().any(|(from, to, link)| {
            *from == cause.code
                && *to == consequence.code
                && match link {
                    Link::SharedScope => !cause.scope.is_disjoint(&consequence.scope),
                }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(code: &str) -> usize {
        NEAREST_FIRST.iter().position(|c| *c == code).unwrap_or_else(|| panic!("{code} has no place in the order"))
    }

    #[test]
    fn every_rule_has_exactly_one_place() {
        let codes: Vec<&str> = crate::catalogue().iter().map(|rule| rule.code).collect();
        let placed: BTreeSet<&str> = NEAREST_FIRST.iter().copied().collect();
        assert_eq!(placed.len(), NEAREST_FIRST.len(), "a code stands twice in the order");
        assert_eq!(placed, codes.into_iter().collect());
    }

    #[test]
    fn links_lead_away_from_the_thing_to_change() {
        for (cause, consequence, _) in LINKS {
            assert!(place(cause) < place(consequence), "{cause} stands behind {consequence}, which it explains");
        }
    }

    /// What an own service's finding touches beside its own endpoint.
    fn of_session(code: &str) -> Finding {
        let healthy: mxray_model::Evidence = serde_json::from_str(include_str!("healthy.json")).unwrap();
        let (key, endpoint) = healthy.endpoints.iter().find(|(key, _)| key.ends_with(":25/smtp")).unwrap();
        let finding = Finding::new(code, "any", mxray_model::Severity::Error, crate::outside::subject(key), "any");
        crate::outside::touching(finding, endpoint)
    }

    #[test]
    fn a_server_that_does_not_run_explains_its_own_ports_alone() {
        use crate::view::service_at;
        let stopped = |instance: &str, port: u16| {
            let subject = mxray_model::Subject::service(instance);
            Finding::new("SOCK112", "any", mxray_model::Severity::Critical, subject, "any")
                .touches(service_at(instance, port))
        };
        assert!(explains(&stopped("postfix", 25), &of_session("SMTP103")));
        assert!(!explains(&stopped("postfix", 587), &of_session("SMTP103")));
        assert!(!explains(&stopped("exim", 25), &of_session("SMTP103")));
    }

    #[test]
    fn links_are_unique() {
        let pairs: BTreeSet<_> = LINKS.iter().map(|(a, b, _)| (a, b)).collect();
        assert_eq!(pairs.len(), LINKS.len());
    }
}
