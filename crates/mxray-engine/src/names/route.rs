//! Fills where a domain's mail goes: MX records and the hosts that they name.

use super::Context;
use mxray_auth::route::MailRouter;
use mxray_model::Seen;
use mxray_model::evidence::published::Domain;

pub(super) fn look(name: &str, domain: &mut Domain, context: &Context<'_>) {
    domain.route = match context.run.run(MailRouter { domain: name.to_owned() }) {
        Ok(evaluated) => Seen::Value(evaluated.outcome),
        Err(blind) => Seen::Unknown(blind),
    };
}
