//! Reads a log from a file, joins and classifies it, and prints the answer as JSON: `read-log FILE [2]`. With 2, one thread reads and
//! understands lines and another one joins them, as the product's own command does, and standard error says how many seconds
//! each of them ran. For measurements; the command also finds, orders and unpacks files.

use std::error::Error;
use std::fs::File;
use std::io::{Read as _, Write as _, stderr, stdout};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};

use mxray_logs::{Analysis, Batch, Framer, Options, Origin, Read, Reader, Stamp, seek};
use mxray_mail::causes::Rules;

const PIECE: usize = 128 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: read-log FILE [2]")?;
    let two = std::env::args().nth(2).is_some();
    let mut file = File::open(&path)?;
    let data = file.metadata()?;
    let modified = data.modified()?.duration_since(std::time::UNIX_EPOCH)?;
    let scan = seek::years(data.len(), &mut |at, room| file.read_at(room, at).unwrap_or(0));
    let reference = Stamp(i64::try_from(modified.as_micros())?);
    let first_year = scan.first_year(reference).unwrap_or(1970);
    let origin = Origin { first_year, local_offset: 0 };
    let mut analysis = Analysis::new(Arc::new(Rules::built_in()), Options::default());
    if two {
        let mut framer = Framer::new(origin, None, None);
        let mut read = move |batch: &mut Batch| {
            let piece = batch.piece();
            piece.resize(PIECE, 0);
            let count = file.read(piece).unwrap_or(0);
            piece.truncate(count);
            if count == 0 {
                framer.finish(batch);
            } else {
                framer.fill(batch);
            }
            count > 0
        };
        let (send, receive) = sync_channel(2);
        let (give_back, again) = channel::<Batch>();
        let reader = std::thread::spawn(move || {
            loop {
                let mut batch = again.try_recv().unwrap_or_default();
                let more = read(&mut batch);
                if send.send(batch).is_err() || !more {
                    return processor();
                }
            }
        });
        for batch in receive {
            (0..batch.len()).for_each(|at| analysis.batch_line(&batch, at));
            let _ = give_back.send(batch);
        }
        let reading = reader.join().map_err(|_| "the reader broke down")?;
        writeln!(stderr(), "{{\"reading\": {reading:.3}, \"joining\": {:.3}}}", processor())?;
    } else {
        let mut reader = Reader::new(origin);
        let mut sink = |raw: &[u8], read: Read<'_>| analysis.line(raw, read);
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece)? {
                0 => break,
                count => reader.feed(&piece[..count], &mut sink),
            }
        }
        reader.finish(&mut sink);
    }
    serde_json::to_writer_pretty(stdout().lock(), &analysis.into_summary())?;
    stdout().lock().write_all(b"\n")?;
    Ok(())
}

/// Seconds that this thread has run (user and system; Linux, Documentation/scheduler/sched-stats.rst).
fn processor() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}
