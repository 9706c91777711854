//! Takes a list of faults and healthy hosts and runs them, several on one host where they can share it.

use crate::doctor::{self, Circumstances, Examined, Judgement};
use crate::fault::{self, Fault};
use crate::foreign;
use crate::host::{self, Host, HostFile};
use crate::machine::{Traces, say};
use crate::verdicts::{self, Table, Verdict};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io};

/// More faults than this on one host and the other core waits at the end.
const FAULTS_PER_HOST: usize = 12;
/// What a machine was made of disappears a moment after its pid 1.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(5);

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// Without root: no cause, and what would show it.
    OkUnknown,
    /// The product is wrong.
    Wrong(String),
    /// The lab is wrong: nothing was shown about the product.
    LabError(String),
}

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Case {
    pub slug: String,
    pub host: String,
    pub expected: String,
    pub got: String,
    pub outcome: Outcome,
    /// From before the injection to the judgement, without healing.
    pub took: Duration,
    /// The doctor alone.
    pub doctor: Duration,
}

impl Case {
    pub fn good(&self) -> bool {
        matches!(self.outcome, Outcome::Ok | Outcome::OkUnknown)
    }
}

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub faults: BTreeMap<String, Fault>,
    /// Hosts that must show no cause.
    pub healthy: BTreeMap<String, HostFile>,
    pub tables: BTreeMap<String, Table>,
    pub circumstances: Circumstances,
    /// Hosts side by side.
    pub jobs: usize,
    /// Where each report is kept.
    pub keep: Option<PathBuf>,
}

/// What a run made.
#[derive(Debug)]
pub struct Outcomes {
    pub cases: Vec<Case>,
    pub left: Vec<String>,
    pub took: Duration,
}

/// The fixed share of every CI run.
pub fn share() -> io::Result<Plan> {
    let mut plan = everything()?;
    plan.faults.retain(|_, fault| fault.share);
    plan.healthy.retain(|_, host| host.share);
    plan.tables.retain(|_, table| table.share);
    Ok(plan)
}

/// Every fault, every host that has nothing wrong with it, and every table.
pub fn everything() -> io::Result<Plan> {
    let mut healthy = host::all()?;
    healthy.retain(|_, host| host.healthy);
    let tables = verdicts::all()?;
    Ok(Plan { faults: fault::all()?, healthy, tables, jobs: 3, ..Plan::default() })
}

/// One host to bring up, and what to do on it.
struct Job {
    host: String,
    file: HostFile,
    faults: Vec<(String, Fault)>,
    judged_healthy: bool,
    table: Option<(String, Table)>,
}

fn jobs(plan: &Plan) -> io::Result<VecDeque<Job>> {
    let hosts = host::all()?;
    let mut groups: BTreeMap<&str, Vec<(String, Fault)>> = BTreeMap::new();
    for (slug, fault) in &plan.faults {
        groups.entry(&fault.host).or_default().push((slug.clone(), fault.clone()));
    }
    let mut jobs = Vec::new();
    let mut judged: Vec<&str> = Vec::new();
    for (name, faults) in groups {
        let file = hosts.get(name).ok_or_else(|| io::Error::other(format!("no host file named {name}")))?;
        for part in faults.chunks(FAULTS_PER_HOST) {
            let judged_healthy = plan.healthy.contains_key(name) && !judged.contains(&name);
            judged.push(name);
            jobs.push(Job {
                host: name.to_owned(),
                file: file.clone(),
                faults: part.to_vec(),
                judged_healthy,
                table: None,
            });
        }
    }
    for (name, file) in plan.healthy.iter().filter(|(name, _)| !judged.contains(&name.as_str())) {
        jobs.push(Job {
            host: name.clone(),
            file: file.clone(),
            faults: Vec::new(),
            judged_healthy: true,
            table: None,
        });
    }
    for (slug, table) in &plan.tables {
        let no_host = || io::Error::other(format!("no host file named {}", table.host));
        let (host, file) = hosts.get_key_value(&table.host).ok_or_else(no_host)?;
        let table = Some((slug.clone(), table.clone()));
        jobs.push(Job { host: host.clone(), file: file.clone(), faults: Vec::new(), judged_healthy: false, table });
    }
    // The longest first, so that the last to end is a short one.
    jobs.sort_by_key(|job| std::cmp::Reverse((job.table.is_some(), job.faults.len())));
    Ok(jobs.into())
}

/// A host whose packages cannot be had shows nothing: its cases are skipped, each with the reason.
fn can_run(job: &Job) -> bool {
    let Err(reason) = foreign::packages(&job.file.foreign) else { return true };
    let healthy = job.judged_healthy.then(|| format!("host {}", job.host));
    let table = job.table.iter().map(|(slug, _)| slug);
    for slug in healthy.iter().chain(job.faults.iter().map(|(slug, _)| slug)).chain(table) {
        say(&format!("skipped: {slug}: {reason}"));
    }
    false
}

/// Runs a plan. An error means that the plan could not be begun; what fails on the way is in the cases.
pub fn run(plan: &Plan, mxray: &Path) -> io::Result<Outcomes> {
    let begun = Instant::now();
    let queue = Mutex::new(jobs(plan)?.into_iter().filter(can_run).collect::<VecDeque<Job>>());
    let cases = Mutex::new(Vec::new());
    let traces = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(job) = next else { break };
                    let mut worker = Worker {
                        job: &job,
                        mxray: mxray.to_path_buf(),
                        circumstances: plan.circumstances,
                        keep: plan.keep.as_deref(),
                        traces: &traces,
                        cases: &cases,
                    };
                    worker.work();
                }
            });
        }
    });
    let traces: Vec<Traces> = traces.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut cases: Vec<Case> = cases.into_inner().unwrap_or_else(PoisonError::into_inner);
    cases.sort_by(|a, b| (a.expected == NO_CAUSE, &a.slug).cmp(&(b.expected == NO_CAUSE, &b.slug)));
    Ok(Outcomes { cases, left: leftovers(&traces), took: begun.elapsed() })
}

/// What is still there of machines that should be gone.
pub fn leftovers(traces: &[Traces]) -> Vec<String> {
    let end = Instant::now() + LEFTOVER_LIMIT;
    loop {
        let left: Vec<String> = traces.iter().flat_map(Traces::left).collect();
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What stands in the table where a host has nothing wrong with it.
pub const NO_CAUSE: &str = "no cause";

struct Worker<'a> {
    job: &'a Job,
    mxray: PathBuf,
    circumstances: Circumstances,
    keep: Option<&'a Path>,
    traces: &'a Mutex<Vec<Traces>>,
    cases: &'a Mutex<Vec<Case>>,
}

impl Worker<'_> {
    fn work(&mut self) {
        let mut host = None;
        if self.job.judged_healthy {
            let case = self.healthy_case(&mut host);
            self.record(case);
        }
        for (slug, fault) in &self.job.faults {
            let case = self.fault_case(slug, fault, &mut host);
            self.record(case);
        }
        if let Some((slug, table)) = &self.job.table {
            for case in self.table_cases(slug, table) {
                self.record(case);
            }
        }
    }

    fn case(&self, slug: String, expected: String) -> Case {
        Case {
            slug,
            host: self.job.host.clone(),
            expected,
            got: String::new(),
            outcome: Outcome::Ok,
            took: Duration::ZERO,
            doctor: Duration::ZERO,
        }
    }

    /// What the lab cannot run is one case, in place of those of the table.
    fn table_cases(&self, slug: &str, table: &Table) -> Vec<Case> {
        let begun = Instant::now();
        let row = |verdict: Verdict| Case {
            got: verdict.got,
            outcome: verdict.wrong.map_or(Outcome::Ok, Outcome::Wrong),
            took: verdict.took,
            doctor: verdict.took,
            ..self.case(format!("{slug}: {}", verdict.name), verdict.expected)
        };
        match self.up().and_then(|host| table.run(&host)) {
            Ok(verdicts) => verdicts.into_iter().map(row).collect(),
            Err(error) => vec![Case {
                outcome: Outcome::LabError(error.to_string()),
                took: begun.elapsed(),
                ..self.case(format!("table {slug}"), format!("{} verdicts", table.case.len()))
            }],
        }
    }

    fn record(&self, case: Case) {
        let outcome = match &case.outcome {
            Outcome::Ok => "ok".to_owned(),
            Outcome::OkUnknown => "ok (unknown, and says what would show it)".to_owned(),
            Outcome::Wrong(why) => format!("WRONG: {why}"),
            Outcome::LabError(why) => format!("LAB ERROR: {why}"),
        };
        let Case { slug, expected, got, took, doctor, .. } = &case;
        say(&format!(
            "{slug}: expected {expected}, got {got}, {:.1} s (doctor {:.2} s): {outcome}",
            took.as_secs_f64(),
            doctor.as_secs_f64()
        ));
        self.cases.lock().unwrap_or_else(PoisonError::into_inner).push(case);
    }

    /// A fresh host with mail flowing on it.
    fn up(&self) -> io::Result<Host> {
        let mut host = Host::up(&self.job.host, &self.job.file, Some(&self.mxray))?;
        self.traces.lock().unwrap_or_else(PoisonError::into_inner).extend(host.traces());
        host.prove_health()?;
        Ok(host)
    }

    fn healthy_case(&self, kept: &mut Option<Host>) -> Case {
        let begun = Instant::now();
        let mut case = self.case(format!("host {}", self.job.host), NO_CAUSE.to_owned());
        match self.up() {
            Ok(host) => {
                self.judge_healthy(&host, &mut case);
                *kept = Some(host);
            }
            Err(error) => case.outcome = Outcome::LabError(error.to_string()),
        }
        case.took = begun.elapsed();
        case
    }

    /// One examination, its report kept under this name where that was asked for.
    fn examine(&self, host: &Host, circumstances: Circumstances, name: &str) -> io::Result<Examined> {
        let examined = doctor::examine(host, circumstances)?;
        if let Some(directory) = self.keep {
            fs::create_dir_all(directory)?;
            fs::write(directory.join(format!("{name}.json")), &examined.raw)?;
        }
        Ok(examined)
    }

    fn judge_healthy(&self, host: &Host, case: &mut Case) {
        let name = match case.slug.strip_prefix("host ") {
            Some(host) => format!("host.{host}"),
            None => format!("{}.healed", case.slug),
        };
        match self.examine(host, self.circumstances, &name) {
            Ok(examined) => {
                case.doctor = examined.took;
                case.got = examined.causes();
                let file = &self.job.file;
                if let Judgement::Wrong(why) = examined.judge_healthy(&file.exit_codes, &file.known, self.circumstances)
                {
                    case.outcome = Outcome::Wrong(why);
                } else if let Some(code) = examined.unsaid(&file.unseen) {
                    case.outcome = Outcome::Wrong(format!("{code} is neither found nor said to be unknown"));
                }
            }
            Err(error) => case.outcome = Outcome::Wrong(error.to_string()),
        }
    }

    fn fault_case(&self, slug: &str, fault: &Fault, kept: &mut Option<Host>) -> Case {
        let mut case = self.case(slug.to_owned(), fault.expect.clone());
        // A host that was lost is made anew, and proves its health, before the clock of the next fault starts.
        let mut host = match kept.take().map_or_else(|| self.up(), Ok) {
            Ok(host) => host,
            Err(error) => {
                case.outcome = Outcome::LabError(format!("before the fault: {error}"));
                return case;
            }
        };
        let healed = self.on_host(slug, fault, &mut host, &mut case);
        if let Err(error) = healed {
            if case.good() {
                case.outcome = Outcome::LabError(error.to_string());
            } else {
                say(&format!("{slug}: besides: {error}"));
            }
        } else if fault.no_heal_because.is_empty() {
            *kept = Some(host);
        }
        case
    }

    /// Everything between the injection and the proof that the host is well again.
    fn on_host(&self, slug: &str, fault: &Fault, host: &mut Host, case: &mut Case) -> io::Result<()> {
        let circumstances = Circumstances {
            without_netlink: self.circumstances.without_netlink || fault.without_netlink,
            ..self.circumstances
        };
        let begun = Instant::now();
        host.clean_slate()?;
        let mut injected = fault.inject(slug, host)?;
        match self.examine(host, circumstances, slug) {
            Ok(examined) => {
                case.doctor = examined.took;
                case.got = examined.causes();
                case.outcome = match examined.judge(fault, circumstances) {
                    Judgement::Right => Outcome::Ok,
                    Judgement::RightlyUnknown => Outcome::OkUnknown,
                    Judgement::Wrong(why) => Outcome::Wrong(why),
                };
            }
            Err(error) => case.outcome = Outcome::Wrong(error.to_string()),
        }
        case.took = begun.elapsed();
        fault.symptom(slug, host, &mut injected)?;
        if fault.no_heal_because.is_empty() {
            fault.heal(slug, host, injected)?;
            host.prove_health()?;
            self.judge_healed(host, case);
        }
        Ok(())
    }

    /// The healed host shows no cause: a doctor that answers from memory, or from old traces, is caught here.
    fn judge_healed(&self, host: &Host, case: &mut Case) {
        let mut after = case.clone();
        self.judge_healthy(host, &mut after);
        if let Outcome::Wrong(why) = after.outcome
            && case.good()
        {
            case.outcome = Outcome::Wrong(format!("after healing: {why}"));
        }
    }
}
