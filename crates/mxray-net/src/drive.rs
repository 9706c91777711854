//! Runs a machine of `mxray-wire` on a connection.

use crate::clock::Clock;
use crate::stream::{Came, Stream, words};
use crate::tls::TlsPlan;
use mxray_model::Seen;
use mxray_model::evidence::TlsFacts;
use mxray_wire::sasl::Binding;
use mxray_wire::{Machine, Moment, Want};
use std::time::{Duration, Instant};

/// What a held session left: the session itself, and its handshake. `Absent`: none was begun.
#[derive(Debug)]
pub struct Held<S> {
    pub session: S,
    pub tls: Seen<TlsFacts>,
}

/// A message goes out in pieces of this size, so that a peer that goes on reading is never given up.
const PIECE_BYTES: usize = 64 * 1024;

/// How long a peer may take for one piece (RFC 5321 section 4.5.3.2.5).
const PIECE_PATIENCE: Duration = Duration::from_secs(180);

/// Holds a session to its end. `bind` is told what a login can be bound to the channel with, before the machine goes on.
pub fn drive<M: Machine>(
    machine: M,
    stream: Stream,
    tls: &TlsPlan,
    clock: Clock,
    bind: impl Fn(&mut M, Binding),
) -> Held<M::Session> {
    drive_judging(machine, stream, tls, clock, bind, |_, _| {})
}

/// The same; `judge` is told what an established handshake showed, before the machine goes on under it.
pub fn drive_judging<M: Machine>(
    mut machine: M,
    mut stream: Stream,
    tls: &TlsPlan,
    clock: Clock,
    bind: impl Fn(&mut M, Binding),
    judge: impl Fn(&mut M, &TlsFacts),
) -> Held<M::Session> {
    let mut facts = Seen::Absent;
    let mut buffer = [0; 16 * 1024];
    loop {
        match machine.want(clock.now()) {
            Want::Write(bytes) => write(&mut machine, &mut stream, &mut buffer, bytes.expose(), clock),
            Want::Read { until } => read(&mut machine, &mut stream, &mut buffer, until, clock),
            Want::StartTls => {
                let (seen, established) = stream.start_tls(tls, clock.handshake_until());
                if established {
                    judge(&mut machine, &seen);
                }
                facts = Seen::Value(seen);
                if let Some(binding) = stream.binding() {
                    bind(&mut machine, binding);
                }
                machine.on_tls(established, clock.now());
            }
            Want::Close => {}
            Want::Done => break,
        }
    }
    stream.close();
    Held { session: machine.into_session(), tls: facts }
}

fn write<M: Machine>(machine: &mut M, stream: &mut Stream, buffer: &mut [u8], bytes: &[u8], clock: Clock) {
    for piece in bytes.chunks(PIECE_BYTES) {
        let Err(error) = stream.write_all(piece, clock.instant(clock.now() + PIECE_PATIENCE)) else { continue };
        // Whoever stops reading may have said why.
        while let Came::Bytes(count) = stream.read(buffer, Instant::now()) {
            machine.on_bytes(buffer.get(..count).unwrap_or_default(), clock.now());
        }
        return match error.kind() {
            std::io::ErrorKind::TimedOut => machine.on_deadline(clock.now()),
            _ => machine.on_broken(&words(&error), clock.now()),
        };
    }
}

fn read<M: Machine>(machine: &mut M, stream: &mut Stream, buffer: &mut [u8], until: Moment, clock: Clock) {
    match stream.read(buffer, clock.instant(until)) {
        Came::Bytes(count) => machine.on_bytes(buffer.get(..count).unwrap_or_default(), clock.now()),
        Came::Closed => machine.on_closed(clock.now()),
        Came::TimedOut => machine.on_deadline(clock.now()),
        Came::Broke(error) => machine.on_broken(&error, clock.now()),
    }
}
