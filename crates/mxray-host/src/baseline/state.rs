//! The state file's content: read, counted into, compared with, written. Pure: minutes are numbers, bytes come and go.

use super::rates::Rates;
use super::usual::Slot;
use mxray_model::evidence::{Baseline, Usual};
use mxray_model::{Blind, Seen};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const SCHEMA: &str = "mxray/baseline/2";
/// Knew no rates; everything else is as it was.
const SCHEMA_1: &str = "mxray/baseline/1";
/// [`NUMBERS_MAX`] numbers and [`super::rates::RATES`] with a share for 24 hours, each with as many buckets as a busy host fills (ten of
/// 64): 250 bytes.
pub const BYTES_MAX: usize = 384 << 10;
/// Services, their networks and states: more have no use on one host.
pub const NUMBERS_MAX: usize = 40;
const SERVICES_MAX: usize = 16;
const HOURS: u8 = 24;
const MINUTES_A_DAY: u64 = 24 * 60;
/// A last minute further ahead than this was written under a wrong clock.
const AHEAD_MINUTES_MAX: u64 = 2 * MINUTES_A_DAY;
/// What is learned of states; the others are short-lived.
const STATES: [&str; 5] = ["ESTAB", "SYN-RECV", "SYN-SENT", "CLOSE-WAIT", "TIME-WAIT"];

/// What is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Now {
    /// Connections by local port.
    pub services: BTreeMap<u16, u32>,
    /// The fullest network's by local port.
    pub networks: BTreeMap<u16, u32>,
    pub states: BTreeMap<String, u32>,
}

/// Everything that was learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    schema: String,
    /// Since 1970, of the last sample.
    minute: u64,
    samples: u32,
    days: u32,
    /// `service/25`, `network/25`, `state/ESTAB`; then by hour of the day (UTC).
    numbers: BTreeMap<String, BTreeMap<u8, Slot>>,
    /// Rates of counters, which need a window and are therefore counted in other runs.
    #[serde(default)]
    rates: Rates,
}

/// Read first: of a newer version nothing else need have the form that we know.
#[derive(Deserialize)]
struct Form {
    schema: String,
}

impl Default for State {
    fn default() -> Self {
        let (numbers, rates) = (BTreeMap::new(), Rates::default());
        State { schema: SCHEMA.to_owned(), minute: 0, samples: 0, days: 0, numbers, rates }
    }
}

pub fn day(minute: u64) -> u32 {
    u32::try_from(minute / MINUTES_A_DAY).unwrap_or(u32::MAX)
}

pub fn hour(minute: u64) -> u8 {
    // Below 24.
    (minute / 60 % u64::from(HOURS)) as u8
}

/// What was learned at this hour, with the one before and the one after.
pub fn around(hours: Option<&BTreeMap<u8, Slot>>, at: u8) -> Slot {
    let mut around = Slot::default();
    for hour in [at, (at + 1) % HOURS, (at + HOURS - 1) % HOURS] {
        if let Some(slot) = hours.and_then(|hours| hours.get(&hour)) {
            around.merge(slot);
        }
    }
    around
}

/// A sample counts once a minute. A last minute far ahead was written under a wrong clock.
pub fn is_due(samples: u32, last: u64, minute: u64) -> bool {
    samples == 0 || minute > last || last > minute.saturating_add(AHEAD_MINUTES_MAX)
}

/// What a file says of hours is what [`State::learn`] could have made.
pub fn are_sound(numbers: &BTreeMap<String, BTreeMap<u8, Slot>>) -> bool {
    numbers.values().flatten().all(|(hour, slot)| *hour < HOURS && slot.is_sound())
}

impl State {
    /// # Errors
    /// It is no state of ours, or of a newer version. It is not to be overwritten then.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, Blind> {
        let bad = |text: &str| Blind::NotUnderstood { what: file.to_owned(), text: text.to_owned() };
        if bytes.len() > BYTES_MAX {
            return Err(bad("longer than mxray writes it"));
        }
        let form: Form = serde_json::from_slice(bytes).map_err(|_| bad("not what mxray writes"))?;
        if ![SCHEMA, SCHEMA_1].contains(&form.schema.as_str()) {
            return Err(bad("written by another version of mxray"));
        }
        let state: State = serde_json::from_slice(bytes).map_err(|_| bad("damaged"))?;
        if state.numbers.len() > NUMBERS_MAX || !are_sound(&state.numbers) || !state.rates.is_sound() {
            return Err(bad("damaged"));
        }
        Ok(State { schema: SCHEMA.to_owned(), ..state })
    }

    /// Its bytes; numbers with the fewest samples are left out where it would be too long.
    pub fn bytes(&self) -> Vec<u8> {
        let mut state = self.clone();
        loop {
            let bytes = serde_json::to_vec(&state).unwrap_or_default();
            if bytes.len() <= BYTES_MAX || state.numbers.is_empty() {
                return bytes;
            }
            // Rates are few by their own bound, and all of them fit without any number.
            let samples = |hours: &BTreeMap<u8, Slot>| hours.values().map(|s| u64::from(s.samples())).sum::<u64>();
            let least = state.numbers.iter().min_by_key(|(_, hours)| samples(hours)).map(|(name, _)| name.clone());
            least.map(|name| state.numbers.remove(&name));
        }
    }

    /// Counts what is now as a sample. False: this minute was counted already.
    pub fn learn(&mut self, minute: u64, now: &Now) -> bool {
        if !is_due(self.samples, self.minute, minute) {
            return false;
        }
        if self.samples == 0 || day(minute) != day(self.minute) {
            self.days = self.days.saturating_add(1);
        }
        self.samples = self.samples.saturating_add(1);
        self.minute = minute;
        for (name, value) in named(now) {
            if self.numbers.len() >= NUMBERS_MAX && !self.numbers.contains_key(&name) {
                continue;
            }
            self.numbers.entry(name).or_default().entry(hour(minute)).or_default().learn(day(minute), value);
        }
        true
    }

    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    pub fn rates_mut(&mut self) -> &mut Rates {
        &mut self.rates
    }

    /// What is usual at this hour (with the one before and the one after), beside what is now.
    pub fn compare(&self, minute: u64, now: &Now, file: &str) -> Baseline {
        let at = hour(minute);
        let usual = |name: String, now: u32| -> Usual { around(self.numbers.get(&name), at).usual(day(minute), now) };
        let by_port = |kind: &str, ports: &BTreeMap<u16, u32>| {
            ports.iter().map(|(port, now)| (*port, usual(format!("{kind}/{port}"), *now))).collect()
        };
        let states = now.states.iter().filter(|(state, _)| STATES.contains(&state.as_str()));
        Baseline {
            file: file.to_owned(),
            hour: at,
            samples: self.samples,
            days: self.days,
            services: by_port("service", &now.services),
            networks: by_port("network", &now.networks),
            states: states.map(|(state, now)| (state.clone(), usual(format!("state/{state}"), *now))).collect(),
            counted: Seen::Absent,
        }
    }
}

/// The numbers that are learned, by name.
fn named(now: &Now) -> Vec<(String, u32)> {
    let by_port = |kind: &'static str, ports: &BTreeMap<u16, u32>| -> Vec<(String, u32)> {
        ports.iter().take(SERVICES_MAX).map(|(port, value)| (format!("{kind}/{port}"), *value)).collect()
    };
    let mut all = by_port("service", &now.services);
    all.extend(by_port("network", &now.networks));
    all.extend(STATES.map(|state| (format!("state/{state}"), now.states.get(state).copied().unwrap_or(0))));
    all
}

#[cfg(test)]
mod tests {
    use super::super::rates::{RATES, Window};
    use super::*;
    use proptest::prelude::*;

    const NOON: u64 = 20_000 * MINUTES_A_DAY + 12 * 60;

    fn now(connections: u32) -> Now {
        Now { services: [(25, connections)].into(), ..Now::default() }
    }

    fn usual(state: &State, minute: u64, connections: u32) -> Usual {
        state.compare(minute, &now(connections), "f").services[&25]
    }

    #[test]
    fn a_minute_counts_once_and_an_hour_knows_its_neighbours_only() {
        let mut state = State::default();
        assert!(state.learn(NOON, &now(10)) && !state.learn(NOON, &now(10)));
        // The clock was set back a little, and once it was a year ahead.
        assert!(!state.learn(NOON - 5, &now(10)));
        state.minute = NOON + 365 * MINUTES_A_DAY;
        assert!(state.learn(NOON + 1, &now(10)));
        assert_eq!((state.samples, usual(&state, NOON + 60, 1).samples), (2, 2));
        assert_eq!(usual(&state, NOON + 120, 1).samples, 0);
    }

    #[test]
    fn a_spike_is_one_against_its_own_hour() {
        let mut state = State::default();
        for day in 0..4 {
            for (start, connections) in [(0, 10), (480, 300)] {
                for minute in 0..10 {
                    state.learn(NOON + day * MINUTES_A_DAY + start + minute, &now(connections));
                }
            }
        }
        let later = NOON + 4 * MINUTES_A_DAY;
        assert!(usual(&state, later, 300).is_spike());
        assert!(!usual(&state, later + 480, 300).is_spike());
        let read = State::parse(&state.bytes(), "f").unwrap();
        assert_eq!(read, state);
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let good = String::from_utf8(State::default().bytes()).unwrap();
        let newer = good.replace("baseline/2", "baseline/3");
        let odd_hour = good.replace("\"numbers\":{}", "\"numbers\":{\"service/25\":{\"24\":{}}}");
        for bad in ["", "{", "null", "{}", newer.as_str(), odd_hour.as_str(), &good.replace("minute", "hour")] {
            assert!(State::parse(bad.as_bytes(), "f").is_err(), "{bad}");
        }
        assert!(State::parse(&vec![b' '; BYTES_MAX + 1], "f").is_err());
    }

    #[test]
    fn the_version_before_is_read_and_written_as_this_one() {
        let mut state = State::default();
        state.learn(NOON, &now(10));
        let text = String::from_utf8(state.bytes()).unwrap();
        let mut old: serde_json::Value = serde_json::from_str(&text).unwrap();
        old["schema"] = SCHEMA_1.into();
        old.as_object_mut().unwrap().remove("rates");
        let read = State::parse(old.to_string().as_bytes(), "f").unwrap();
        assert_eq!(read, state);
        assert!(String::from_utf8(read.bytes()).unwrap().contains(SCHEMA));
    }

    #[test]
    fn a_full_state_of_a_busy_host_fits() {
        let mut state = State::default();
        for minute in 0..3 * MINUTES_A_DAY {
            let events = RATES.iter().enumerate();
            let amounts =
                events.map(|(place, name)| ((*name).to_owned(), minute % 97 * (minute % 89) + place as u64)).collect();
            state.rates_mut().learn(NOON + minute, &Window { ms: 1000, amounts, segments_out: Some(9000) });
            let value = (minute % 97 * minute % 89) as u32;
            let ports: BTreeMap<u16, u32> = (0..30).map(|port| (port, value + u32::from(port))).collect();
            let now = Now { services: ports.clone(), networks: ports, states: BTreeMap::new() };
            state.learn(NOON + minute, &now);
        }
        let bytes = state.bytes();
        assert!(bytes.len() <= BYTES_MAX, "{}", bytes.len());
        let read = State::parse(&bytes, "f").unwrap();
        assert_eq!(read.rates, state.rates);
        assert!(read.numbers.len() > 20 && read.numbers.len() <= NUMBERS_MAX, "{}", read.numbers.len());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = State::parse(&bytes, "f");
        }

        #[test]
        fn what_is_written_is_read(samples in proptest::collection::vec((0u64..20_000, any::<u32>()), 0..60)) {
            let mut state = State::default();
            for (minute, value) in samples {
                state.learn(minute, &now(value));
            }
            prop_assert_eq!(State::parse(&state.bytes(), "f").unwrap(), state);
        }
    }
}
