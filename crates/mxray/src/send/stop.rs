//! The stages that `--quit-after` and its kin name.

use super::args::SessionArgs;
use clap::ValueEnum;
use mxray_model::session::Stage;
use mxray_wire::smtp::{Stop, StopHow};

/// A place to stop at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StopStage {
    /// The connection stands, and nothing was read
    Connect,
    /// The greeting
    Greeting,
    /// The first EHLO
    Ehlo,
    /// TLS, and the EHLO behind it
    Tls,
    /// The login
    Auth,
    /// MAIL
    Mail,
    /// The last RCPT
    Rcpt,
    /// DATA, before the message
    Data,
    /// The message
    Message,
}

impl StopStage {
    /// `None`: before there is a stage.
    fn stage(self) -> Option<Stage> {
        match self {
            StopStage::Connect => None,
            StopStage::Greeting => Some(Stage::Greeting),
            StopStage::Ehlo => Some(Stage::Ehlo),
            StopStage::Tls => Some(Stage::Handshake),
            StopStage::Auth => Some(Stage::Auth),
            StopStage::Mail => Some(Stage::Mail),
            StopStage::Rcpt => Some(Stage::Rcpt),
            StopStage::Data => Some(Stage::Data),
            StopStage::Message => Some(Stage::Message),
        }
    }
}

/// Where a session ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// Once connected.
    Connected,
    At(Stop),
}

/// What was asked for.
///
/// # Errors
/// A stage at which it makes no sense.
pub fn halt(args: &SessionArgs) -> Result<Option<Halt>, String> {
    let at = |stage: StopStage, how| match stage.stage() {
        Some(after) => Halt::At(Stop { after, how }),
        None => Halt::Connected,
    };
    match (args.quit_after, args.drop_after, args.drop_after_send) {
        (Some(StopStage::Connect), ..) => {
            Err("--quit-after connect: nothing can be said before the greeting; see --drop-after connect".to_owned())
        }
        (Some(StopStage::Data), ..) => {
            Err("--quit-after data: behind DATA, QUIT would be a line of the message; see --drop-after data".to_owned())
        }
        (Some(stage), ..) => Ok(Some(at(stage, StopHow::Quit))),
        (None, Some(stage), _) => Ok(Some(at(stage, StopHow::Drop))),
        (None, None, Some(StopStage::Connect | StopStage::Greeting)) => {
            Err("--drop-after-send: nothing is sent at this stage; see --drop-after".to_owned())
        }
        (None, None, Some(StopStage::Tls)) => {
            Err("--drop-after-send tls: the handshake is one step here; see --drop-after".to_owned())
        }
        (None, None, Some(stage)) => Ok(Some(at(stage, StopHow::DropUnanswered))),
        (None, None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_stops_in_every_way_that_makes_sense() {
        for stage in StopStage::value_variants() {
            let stage = *stage;
            let quit = halt(&SessionArgs { quit_after: Some(stage), ..SessionArgs::default() });
            assert_eq!(quit.is_err(), matches!(stage, StopStage::Connect | StopStage::Data), "{stage:?}");
            assert!(halt(&SessionArgs { drop_after: Some(stage), ..SessionArgs::default() }).unwrap().is_some());
            let unanswered = halt(&SessionArgs { drop_after_send: Some(stage), ..SessionArgs::default() });
            let nothing_sent = matches!(stage, StopStage::Connect | StopStage::Greeting | StopStage::Tls);
            assert_eq!(unanswered.is_err(), nothing_sent, "{stage:?}");
        }
        assert_eq!(halt(&SessionArgs::default()), Ok(None));
    }
}
