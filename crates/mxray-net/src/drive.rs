//! Runs a machine of `mxray-wire` on a connection.

use crate::clock::Clock;
use crate::stream::{Came, Stream, words};
use crate::tls::TlsPlan;
use mxray_model::Seen;
use mxray_model::evidence::TlsFacts;
use mxray_wire::sasl::Binding;
use mxray_wire::{Machine, Moment, Want};

/// What a held session left: the session itself, and its handshake. `Absent`: none was begun.
#[derive(Debug)]
pub struct Held<S> {
    pub session: S,
    pub tls: Seen<TlsFacts>,
}

/// Holds a session to its end. `bind` is told what a login can be bound to the channel with, before the machine goes on.
pub fn drive<M: Machine>(
    mut machine: M,
    mut stream: Stream,
    tls: &TlsPlan,
    clock: Clock,
    bind: impl Fn(&mut M, Binding),
) -> Held<M::Session> {
    let mut facts = Seen::Absent;
    let mut buffer = [0; 16 * 1024];
    loop {
        match machine.want(clock.now()) {
            Want::Write(bytes) => {
                if let Err(error) = stream.write_all(bytes.expose(), clock.deadline()) {
                    match error.kind() {
                        std::io::ErrorKind::TimedOut => machine.on_deadline(clock.now()),
                        _ => machine.on_broken(&words(&error), clock.now()),
                    }
                }
            }
            Want::Read { until } => read(&mut machine, &mut stream, &mut buffer, until, clock),
            Want::StartTls => {
                let (seen, established) = stream.start_tls(tls, clock.deadline());
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

fn read<M: Machine>(machine: &mut M, stream: &mut Stream, buffer: &mut [u8], until: Moment, clock: Clock) {
    match stream.read(buffer, clock.instant(until)) {
        Came::Bytes(count) => machine.on_bytes(buffer.get(..count).unwrap_or_default(), clock.now()),
        Came::Closed => machine.on_closed(clock.now()),
        Came::TimedOut => machine.on_deadline(clock.now()),
        Came::Broke(error) => machine.on_broken(&error, clock.now()),
    }
}
