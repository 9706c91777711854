//! One limit for all questions of a run that are on their way, and the time that waiting for a turn costs.
//!
//! Every task of a run asks side by side, and none knows of the others. Resolvers, and the firewalls before them, limit what
//! one client has open; whoever goes beyond that loses answers, and takes them for silence. A turn is held for one question
//! to one set of servers and for nothing else: who holds one waits for nobody who needs one.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Questions on their way at the same time. Small resolvers keep about a hundred for one client (Unbound's
/// `num-queries-per-thread` is 512 or 1024 for all, dnsmasq's `dns-forward-max` is 150 for all).
const ON_THEIR_WAY_MAX: usize = 64;

/// The turns of one run. Clones share them.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Default for Turns {
    fn default() -> Self {
        Turns::new(ON_THEIR_WAY_MAX)
    }
}

impl Turns {
    pub(super) fn new(most: usize) -> Turns {
        Turns(Arc::new(Gate { free: Mutex::new(most), freed: Condvar::new() }))
    }

    /// Waits for a turn, and gives the time that it took back to the one who waited. `None`: the run was over before.
    pub(super) fn take(&self, allowance: &Allowance) -> Option<Turn<'_>> {
        let began = Instant::now();
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            let left = allowance.latest.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            (free, _) = self.0.freed.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        drop(free);
        allowance.waited(began.elapsed());
        Some(Turn(&self.0))
    }
}

/// May be on its way.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Gate);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

/// How long one question may take, with all that follows from it: its patience, which begins anew by as much as it waited
/// for its turn, and never longer than the run.
#[derive(Debug)]
pub(super) struct Allowance {
    end: Mutex<Instant>,
    latest: Instant,
}

impl Allowance {
    pub fn until(latest: Instant) -> Allowance {
        Allowance { end: Mutex::new(latest), latest }
    }

    pub fn within(patience: Duration, latest: Instant) -> Allowance {
        Allowance { end: Mutex::new(latest.min(Instant::now() + patience)), latest }
    }

    /// When it is over, as far as is known by now.
    pub fn end(&self) -> Instant {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waited(&self, time: Duration) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        *end = self.latest.min(*end + time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Resolver;
    use mxray_model::evidence::DnsOutcome;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn no_more_than_that_many_at_once_and_all_in_the_end() {
        let turns = Turns::new(3);
        let (now, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    let allowance = Allowance::until(Instant::now() + Duration::from_secs(60));
                    let turn = turns.take(&allowance).unwrap();
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                    drop(turn);
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert_eq!((done.load(Ordering::SeqCst), *turns.0.free.lock().unwrap()), (40, 3));
    }

    #[test]
    fn waiting_costs_no_patience_and_ends_with_the_run() {
        let turns = Turns::new(1);
        let now = Instant::now();
        let short = Allowance::within(Duration::from_secs(1), now + Duration::from_secs(60));
        let before = short.end();
        short.waited(Duration::from_secs(7));
        assert_eq!(short.end(), before + Duration::from_secs(7));
        short.waited(Duration::from_secs(700));
        assert_eq!(short.end(), now + Duration::from_secs(60));
        let held = turns.take(&short).unwrap();
        assert!(turns.take(&Allowance::until(Instant::now())).is_none());
        drop(held);
        assert!(turns.take(&Allowance::until(Instant::now())).is_some(), "what is free is there at once");
    }

    #[test]
    fn a_question_whose_turn_does_not_come_is_not_asked() {
        let nobody = Resolver { turns: Turns::new(0), ..Resolver::new(vec!["127.0.0.1:9".parse().unwrap()]) };
        let soon = Instant::now() + Duration::from_millis(20);
        let lookup = nobody.lookup("A", "x.example", soon);
        assert!(matches!(&lookup.outcome, DnsOutcome::NotAsked(blind) if blind.why().contains("turn")), "{lookup:?}");
        assert!(lookup.tries.is_empty() && lookup.found().blind().is_some());
        let signed = nobody.signed("A", "x.example", Duration::from_secs(1), soon);
        assert!(matches!(signed.lookup.outcome, DnsOutcome::NotAsked(_)), "{signed:?}");
    }

    /// Whoever is made of a resolver waits with it.
    #[test]
    fn all_resolvers_of_a_run_share_the_turns() {
        let first = Resolver::new(Vec::new());
        let finder = first.clone();
        let own = Resolver::at_own_servers(finder);
        let one = own.towards(Vec::new());
        for other in [&own.turns, &one.turns, &own.finder.as_ref().unwrap().turns] {
            assert!(Arc::ptr_eq(&first.turns.0, &other.0));
        }
    }

    #[test]
    fn who_panics_gives_its_turn_back() {
        let turns = Turns::new(1);
        let allowance = Allowance::until(Instant::now() + Duration::from_secs(60));
        let broken = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _turn = turns.take(&allowance);
                    std::panic::resume_unwind(Box::new(()));
                })
                .join()
        });
        assert!(broken.is_err());
        assert!(turns.take(&allowance).is_some());
    }
}
