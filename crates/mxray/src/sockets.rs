//! `mxray sockets`: to be joined with the socket collectors.

use crate::output::Terminal;
use std::io;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mxray sockets\n")]
pub struct SocketsArgs {}

pub fn run(
    _args: &SocketsArgs,
    _out: &mut dyn io::Write,
    _terminal: Option<Terminal>,
    _colour: bool,
) -> io::Result<u8> {
    Err(io::Error::other("sockets is joined with its collectors on another branch"))
}
