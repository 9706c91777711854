//! Reads a log from a file, joins and classifies it, and prints the answer as JSON: `read-log FILE`. For measurements; the
//! product's own command reads rotated sets and follows.

use std::error::Error;
use std::fs::File;
use std::io::{Read as _, Write as _, stdout};
use std::sync::Arc;

use mxray_logs::{Analysis, Options, Origin, Read, Reader, Stamp, YearScan};
use mxray_mail::causes::Rules;

const PIECE: usize = 1 << 18;

fn pieces(path: &str, mut each: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            length => each(&piece[..length]),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: read-log FILE")?;
    let modified = std::fs::metadata(&path)?.modified()?.duration_since(std::time::UNIX_EPOCH)?;
    let mut scan = YearScan::default();
    pieces(&path, |piece| scan.feed(piece))?;
    let reference = Stamp(i64::try_from(modified.as_micros())?);
    let first_year = scan.first_year(reference).unwrap_or(1970);
    let mut reader = Reader::new(Origin { first_year, local_offset: 0 });
    let mut analysis = Analysis::new(Arc::new(Rules::built_in()), Options::default());
    let mut sink = |raw: &[u8], read: Read<'_>| analysis.line(raw, read);
    pieces(&path, |piece| reader.feed(piece, &mut sink))?;
    reader.finish(&mut sink);
    serde_json::to_writer_pretty(stdout().lock(), &analysis.into_summary())?;
    stdout().lock().write_all(b"\n")?;
    Ok(())
}
