//! One conversation of the agent: hello, a job, the last frame. A [`Worker`] does the job.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use converge_model::wire::{
    self, CATALOG_LIMIT, FromAgent, Guard, Hello, Job, Refusal, Task, ToAgent, Verdict, WireError,
};
use converge_model::{AdHoc, Catalog, Digest, HostPlan, HostReport, Ran, RunId, SecretTable};

use crate::channel::Channel;
use crate::channel::stdio::{Input, Output, Patience, Stdio};
use crate::channel::unpack::unpacked;
use crate::facts;

/// Does jobs.
pub trait Worker {
    /// Observes and plans. It changes nothing.
    fn look(&self, order: Order, channel: &dyn Channel) -> Result<HostPlan, Refusal>;

    /// Applies the plan that `token` identifies.
    fn act(&self, order: Order, token: Digest, channel: &dyn Channel) -> Result<HostReport, Refusal>;

    /// Confirms the armed group of another agent of the same run. The proof is that this agent could be started.
    fn confirm(&self, run: &RunId) -> Result<Verdict, Refusal>;

    /// Runs a command on the host, or in the folder `root` that stands for it.
    fn exec(&self, asked: &AdHoc, root: Option<&Path>, channel: &dyn Channel) -> Result<Ran, Refusal>;

    /// Answers with the login and the lock's holder, as the last frame.
    fn ping(&self, root: Option<&Path>) -> Result<FromAgent, Refusal>;
}

/// The input of a job.
pub struct Order {
    /// The run.
    pub run: RunId,
    /// The user who started the run, and from where.
    pub by: String,
    /// The folder that stands for `/`. None: the system itself.
    pub root: Option<PathBuf>,
    /// The guard of access-critical changes. None if there are none, because a folder stands for the host.
    pub guard: Option<Guard>,
    /// The desired state of the host, with its secrets.
    pub catalog: Catalog,
}

/// Serves one job over standard input and output. The exit code is 0 only if the last frame was written. A controller
/// that closes the connection before it sends a job wanted only the facts.
pub fn serve(worker: &dyn Worker, patience: Patience) -> ExitCode {
    match converse(worker, patience) {
        Ok(()) | Err(WireError::Closed) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn converse(worker: &dyn Worker, patience: Patience) -> Result<(), WireError> {
    let mut output = Output::stdout(patience.silence);
    output.bytes(&hello()?)?;
    let mut input = Input::stdin(patience.silence);
    let job = first_job(&mut input)?;
    match &job.task {
        Task::Facts => return Ok(()),
        Task::Confirm => {
            let verdict = worker.confirm(&job.run).map_or_else(FromAgent::Refused, FromAgent::Verdict);
            return output.frame(&verdict);
        }
        Task::Ping => {
            let answer = worker.ping(job.root.as_deref().map(Path::new));
            return output.frame(&answer.unwrap_or_else(FromAgent::Refused));
        }
        Task::Exec(asked) => {
            let channel = Stdio::start(input, output, patience);
            let ran = worker.exec(asked, job.root.as_deref().map(Path::new), &channel);
            return channel.finish(&ran.map_or_else(FromAgent::Refused, FromAgent::Ran));
        }
        Task::Look | Task::Act { .. } => {}
    }
    let catalog = match catalog(&mut input, &job) {
        Ok(catalog) => catalog,
        Err(WireError::Malformed(_)) => return output.frame(&FromAgent::Refused(other_version())),
        Err(error) => return Err(error),
    };
    let guard = job.root.is_none().then_some(job.guard);
    let order = Order { run: job.run, by: job.by, root: job.root.map(PathBuf::from), guard, catalog };
    let channel = Stdio::start(input, output, patience);
    channel.finish(&work(worker, job.task, order, &channel))
}

fn work(worker: &dyn Worker, task: Task, order: Order, channel: &dyn Channel) -> FromAgent {
    let done = match task {
        Task::Act { token } => {
            worker.act(order, token, channel).map(|report| FromAgent::Report(report.into()))
        }
        Task::Look | Task::Facts | Task::Confirm | Task::Exec(_) | Task::Ping => {
            worker.look(order, channel).map(|plan| FromAgent::Plan(plan.into()))
        }
    };
    done.unwrap_or_else(FromAgent::Refused)
}

/// Returns the bytes that open the conversation. They are one write, and one packet if they fit.
fn hello() -> Result<Vec<u8>, WireError> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let hello = Hello { agent: own_digest(), facts: facts::gather(), clock };
    Ok([wire::MAGIC.as_slice(), &wire::encode(&FromAgent::Hello(hello.into()))?].concat())
}

/// Returns the digest of the running executable. All zeros if it cannot be read; no controller accepts that as its
/// agent.
fn own_digest() -> Digest {
    let opened = std::fs::File::open("/proc/self/exe").ok().or_else(|| {
        // Without /proc, the absolute path from the bootstrap is used.
        let path = PathBuf::from(std::env::args_os().next()?);
        path.is_absolute().then(|| std::fs::File::open(path).ok()).flatten()
    });
    let mut hasher = blake3::Hasher::new();
    match opened.map(|file| hasher.update_reader(file).map(|_| ())) {
        Some(Ok(())) => hasher.finalize().into(),
        _ => Digest::from_bytes([0; 32]),
    }
}

fn first_job(input: &mut impl Read) -> Result<Job, WireError> {
    loop {
        match wire::read(input)? {
            ToAgent::Job(job) => return Ok(job),
            ToAgent::Ping => {}
            ToAgent::Stop => return Err(WireError::Closed),
            ToAgent::Part(_) | ToAgent::Content { .. } => return Err(WireError::Malformed(0)),
        }
    }
}

fn catalog(input: &mut impl Read, job: &Job) -> Result<Catalog, WireError> {
    let mut catalog: Catalog = wire::decode(&parts(input, job.catalog)?)?;
    let secrets = zeroize::Zeroizing::new(parts(input, job.secrets)?);
    catalog.secrets = SecretTable::from_channel(&secrets).map_err(|_| WireError::Malformed(secrets.len()))?;
    Ok(catalog)
}

/// Reads the parts that follow, `length` bytes in total.
fn parts(input: &mut impl Read, length: u64) -> Result<Vec<u8>, WireError> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > CATALOG_LIMIT {
        return Err(WireError::TooLarge(length));
    }
    // The whole buffer at once: a growing one would leave copies of secrets behind.
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        match wire::read(input)? {
            ToAgent::Part(part) => {
                let part = unpacked(part)?;
                if bytes.len() + part.len() > length {
                    return Err(WireError::Malformed(bytes.len() + part.len()));
                }
                bytes.extend_from_slice(&part);
            }
            ToAgent::Ping => {}
            ToAgent::Stop => return Err(WireError::Closed),
            _ => return Err(WireError::Malformed(bytes.len())),
        }
    }
    Ok(bytes)
}

fn other_version() -> Refusal {
    Refusal::Broken {
        message: "the catalog is of another version than the agent".to_owned(),
        help: Some(
            "the controller and its agent were not built together; reinstall the controller".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(messages: &[ToAgent]) -> Vec<u8> {
        messages.iter().flat_map(|message| wire::encode(message).unwrap()).collect()
    }

    #[test]
    fn parts_join_across_pings_and_must_not_exceed_what_was_announced() {
        let sent = stream(&[ToAgent::Part(vec![0, 1, 2]), ToAgent::Ping, ToAgent::Part(vec![0, 3])]);
        assert_eq!(parts(&mut &sent[..], 3).unwrap(), [1, 2, 3]);
        assert!(matches!(parts(&mut &sent[..], 1), Err(WireError::Malformed(_))));
        assert!(matches!(parts(&mut &sent[..], 4), Err(WireError::Closed)));
        assert!(matches!(parts(&mut &sent[..], u64::MAX), Err(WireError::TooLarge(_))));
    }

    #[test]
    fn a_stop_before_the_job_ends_quietly() {
        assert!(matches!(
            first_job(&mut &stream(&[ToAgent::Ping, ToAgent::Stop])[..]),
            Err(WireError::Closed)
        ));
    }
}
