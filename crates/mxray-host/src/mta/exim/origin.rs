//! Where the lines of Debian's generated configuration come from: what is changed in the generated file itself is lost
//! with the next run of update-exim4.conf. Pure.

use mxray_model::evidence::FileLine;
use std::collections::BTreeMap;

/// The source of each generated line, by its number. update-exim4.conf copies lines whole and in order: a line follows the
/// one before it, or is found once. Of anything else the source is not known.
pub(crate) fn origins(generated: &[u8], sources: &[(String, Vec<u8>)]) -> BTreeMap<u32, FileLine> {
    let mut places: BTreeMap<&[u8], Vec<(usize, u32)>> = BTreeMap::new();
    for (index, (_, content)) in sources.iter().enumerate() {
        for (number, line) in numbered(content) {
            places.entry(line).or_default().push((index, number));
        }
    }
    let mut found = BTreeMap::new();
    let mut last: Option<(usize, u32)> = None;
    for (number, line) in numbered(generated) {
        let Some(candidates) = places.get(line) else { continue };
        let follows = |place: &&(usize, u32)| last.is_some_and(|last| place.0 == last.0 && place.1 > last.1);
        let place = candidates.iter().find(follows).or(candidates.first().filter(|_| candidates.len() == 1));
        if let Some(place) = place.copied()
            && let Some((file, _)) = sources.get(place.0)
        {
            last = Some(place);
            found.insert(number, FileLine { file: file.clone(), line: place.1 });
        }
    }
    found
}

/// Lines that say something, without the white space around them.
fn numbered(content: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let numbers = lines.map(|(index, line)| (u32::try_from(index + 1).unwrap_or(u32::MAX), line));
    numbers.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lead_back_to_where_they_were_written() {
        let sources = [
            ("a".to_owned(), b"# about\none = 1\n\n  accept\ntwo = 2\n".to_vec()),
            ("b".to_owned(), b"accept\nthree = 3\naccept\n".to_vec()),
        ];
        let generated = b"accept\n#####\none = 1\n  accept\ntwo = 2\nmade = here\nthree = 3\naccept\n";
        let found = origins(generated, &sources);
        let brief: Vec<String> = found.iter().map(|(line, at)| format!("{line} {at}")).collect();
        assert_eq!(brief, ["3 a:2", "4 a:4", "5 a:5", "7 b:2", "8 b:3"]);
    }
}
