//! Acts of the agent program in a folder that simulates a host. They are driven like a controller does, over standard
//! input and output, without a connection. They measure the cost of an act: in instructions, which do not depend on
//! the machine's load, and in time.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use converge_model::catalog::{Body, Catalog, Resource};
use converge_model::claim::Extent;
use converge_model::wire::{self, FromAgent, Guard, Job, MAGIC, PART, PLAIN, Task, ToAgent, WireError};
use converge_model::{
    Address, Claim, Content, Digest, HostName, HostPlan, HostReport, HostState, Options, Params, RunId,
    SecretTable, Value,
};

use crate::testbed;

/// The program that counts instructions, and its Debian package.
const COUNTER: (&str, &str) = ("valgrind", "valgrind");

/// A folder in memory, if there is one. On a disk, an act waits for the disk after every file.
const MEMORY: &str = "/dev/shm";

/// A folder that simulates a host, and its desired state.
#[derive(Debug)]
pub struct Stage {
    folder: tempfile::TempDir,
    resources: Vec<Resource>,
    contents: HashMap<Digest, Vec<u8>>,
}

/// Why an act did not finish as expected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The agent could not be started, or a file could not be read or written.
    #[error("{0}: {1}")]
    File(String, io::Error),
    /// The conversation ended early.
    #[error("failed to talk to the agent: {0}")]
    Wire(#[from] WireError),
    /// It did not end with every resource in sync.
    #[error("the act ended in another way than expected: {0}")]
    Ended(String),
}

/// Makes sure that instructions can be counted here.
///
/// # Errors
/// [`testbed::Error::Unavailable`] if the counting program is missing and cannot be installed.
pub fn can_count() -> Result<(), testbed::Error> {
    testbed::install(&[COUNTER])
}

impl Stage {
    /// Declares `count` new files, each with its own content.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn files(count: u32) -> Result<Self, Error> {
        let mut stage = Self::new()?;
        for number in 0..count {
            let (path, text) = (format!("/srv/{number}.conf"), format!("number = {number}\n").into_bytes());
            let (digest, length) = (Digest::of(&text), text.len() as u64);
            let content = Value::Content(Content::Plain { digest, length });
            let params = Params(vec![("path".into(), path.as_str().into()), ("content".into(), content)]);
            stage.add("file", &path, params, Claim::path(path.as_str(), Extent::Whole));
            stage.contents.insert(digest, text);
        }
        Ok(stage)
    }

    /// Creates `count` folders of releases, of which five should be kept.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn releases(count: u32) -> Result<Self, Error> {
        let mut stage = Self::new()?;
        let releases = stage.host().join("srv/releases");
        let made = (0..count).try_for_each(|number| fs::create_dir_all(releases.join(number.to_string())));
        let linked = made.and_then(|()| symlink("releases/0", stage.host().join("srv/current")));
        linked.map_err(|error| file(&releases, error))?;
        let (path, current) = ("/srv/releases", "/srv/current");
        let params = Params(vec![("path".into(), path.into()), ("current".into(), current.into())]);
        stage.add("retention", path, params, Claim::named("retention", path));
        Ok(stage)
    }

    /// Looks and acts with the agent at `agent`. Returns the duration of the act, from the start of the program to
    /// its end.
    ///
    /// # Errors
    /// If the act does not end with every resource in sync.
    pub fn time(&self, agent: &Path) -> Result<Duration, Error> {
        let plan = self.look(agent)?;
        let started = Instant::now();
        self.act(Command::new(agent), &plan).map(|()| started.elapsed())
    }

    /// Looks with the agent at `agent`, and acts with it under a counting program. Returns the instructions of the
    /// act.
    ///
    /// # Errors
    /// As for [`Self::time`]. See [`can_count`].
    pub fn instructions(&self, agent: &Path) -> Result<u64, Error> {
        let plan = self.look(agent)?;
        let counts = self.folder.path().join("counts");
        let mut counter = Command::new(COUNTER.0);
        let into: OsString = ["--cachegrind-out-file=".as_ref(), counts.as_os_str()].into_iter().collect();
        // cachegrind needs a third of the time of callgrind, which also counts by caller.
        counter.args(["--quiet", "--tool=cachegrind", "--cache-sim=no"]).arg(into).arg(agent);
        self.act(counter, &plan)?;
        let text = fs::read_to_string(&counts).map_err(|error| file(&counts, error))?;
        let sum = text.lines().find_map(|line| line.strip_prefix("summary: ")?.trim().parse().ok());
        sum.ok_or_else(|| Error::Ended(format!("{} has no sum", counts.display())))
    }

    /// Looks and acts with the agent at `agent`. Returns the peak memory of the act in bytes.
    ///
    /// # Errors
    /// As for [`Self::time`].
    pub fn resident(&self, agent: &Path) -> Result<u64, Error> {
        let plan = self.look(agent)?;
        let mut talk = self.begin(Command::new(agent), Task::Act { token: plan.token })?;
        talk.resident = Some(0);
        let last = talk.last(&self.contents)?;
        let resident = talk.resident.unwrap_or_default();
        talk.end()?;
        done(last, &plan).map(|()| resident)
    }

    fn new() -> Result<Self, Error> {
        let memory = Path::new(MEMORY);
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("converge-act-").tempdir_in(&parent);
        let folder = folder.map_err(|error| file(&parent, error))?;
        let stage = Self { folder, resources: Vec::new(), contents: HashMap::new() };
        let srv = stage.host().join("srv");
        fs::create_dir_all(&srv).map_err(|error| file(&srv, error))?;
        Ok(stage)
    }

    /// The folder that simulates the host.
    fn host(&self) -> PathBuf {
        self.folder.path().join("host")
    }

    fn add(&mut self, kind: &str, name: &str, params: Params, claim: Claim) {
        self.resources.push(Resource {
            address: Address::new(None, kind, name),
            aliases: Vec::new(),
            kind: kind.to_owned(),
            params,
            claims: vec![claim],
            bodies: vec![0],
            after: Vec::new(),
            notify: Vec::new(),
            options: Options::default(),
        });
    }

    fn look(&self, agent: &Path) -> Result<HostPlan, Error> {
        match self.ask(Command::new(agent), Task::Look)? {
            FromAgent::Plan(plan) if plan.problems.is_empty() && plan.blocked.is_empty() => Ok(*plan),
            other => Err(Error::Ended(format!("{other:?}"))),
        }
    }

    fn act(&self, program: Command, plan: &HostPlan) -> Result<(), Error> {
        done(self.ask(program, Task::Act { token: plan.token })?, plan)
    }

    /// Holds one conversation with `program` and returns its last message.
    fn ask(&self, program: Command, task: Task) -> Result<FromAgent, Error> {
        let mut talk = self.begin(program, task)?;
        let last = talk.last(&self.contents)?;
        talk.end()?;
        Ok(last)
    }

    /// Starts `program` and sends it the task.
    fn begin(&self, mut program: Command, task: Task) -> Result<Talk, Error> {
        program.env("XDG_STATE_HOME", self.folder.path().join("state"));
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let name = program.get_program().display().to_string();
        let child = program.spawn().map_err(|error| Error::File(format!("start {name}"), error))?;
        let mut talk = Talk::with(child)?;
        talk.order(self, task)?;
        Ok(talk)
    }

    fn catalog(&self) -> Result<Vec<u8>, Error> {
        let catalog = Catalog {
            host: HostName::new("h1").map_err(|error| Error::Ended(error.to_string()))?,
            project: "cost".to_owned(),
            resources: self.resources.clone(),
            bodies: vec![Body { name: "on \"h1\"".to_owned() }],
            settled: Vec::new(),
            secrets: SecretTable::default(),
        };
        postcard::to_allocvec(&catalog).map_err(|error| Error::Ended(error.to_string()))
    }
}

/// Checks that the last message of an act reports all steps of its plan as done.
fn done(last: FromAgent, plan: &HostPlan) -> Result<(), Error> {
    match last {
        FromAgent::Report(report) if is_done(&report, plan) => Ok(()),
        other => Err(Error::Ended(format!("{other:?}"))),
    }
}

/// Whether an act did everything in its plan.
fn is_done(report: &HostReport, plan: &HostPlan) -> bool {
    report.state == HostState::Changed && report.results.len() == plan.steps.len()
}

/// Returns the peak memory of a process in bytes: `VmHWM` of proc(5), which is in KiB. None if it has ended.
fn resident(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
    line.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

fn file(path: &Path, error: io::Error) -> Error {
    Error::File(path.display().to_string(), error)
}

/// The controller's side of a conversation.
struct Talk {
    child: Child,
    to: BufWriter<ChildStdin>,
    from: BufReader<ChildStdout>,
    /// The peak memory of the program, if it is wanted. It is read after each message, because the program ends after
    /// its last message.
    resident: Option<u64>,
}

impl Talk {
    /// Reads the agent's hello.
    fn with(mut child: Child) -> Result<Self, Error> {
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Ended("the agent has no pipes".to_owned()));
        };
        let mut talk = Self { child, to: BufWriter::new(to), from: BufReader::new(from), resident: None };
        let mut magic = [0; MAGIC.len()];
        talk.from.read_exact(&mut magic).map_err(WireError::Io)?;
        match talk.next()? {
            FromAgent::Hello(_) if magic == *MAGIC => Ok(talk),
            other => Err(Error::Ended(format!("no hello: {other:?}"))),
        }
    }

    fn order(&mut self, stage: &Stage, task: Task) -> Result<(), Error> {
        let catalog = stage.catalog()?;
        self.say(&ToAgent::Job(Job {
            run: RunId::new("20260101T000000-00000000").map_err(|error| Error::Ended(error.to_string()))?,
            by: "ada@laptop".to_owned(),
            task,
            root: Some(stage.host().display().to_string()),
            catalog: catalog.len() as u64,
            secrets: 0,
            guard: Guard::default(),
        }))?;
        self.parts(&catalog)
    }

    /// Answers the agent's requests until its last message.
    fn last(&mut self, contents: &HashMap<Digest, Vec<u8>>) -> Result<FromAgent, Error> {
        loop {
            match self.next()? {
                FromAgent::Need(digests) => {
                    digests.into_iter().try_for_each(|digest| self.give(digest, contents.get(&digest)))?;
                }
                // A silent controller counts as dead, so answer.
                FromAgent::Ping => self.say(&ToAgent::Ping)?,
                FromAgent::Event(_) => {}
                FromAgent::Large { length } => return self.large(length),
                last => return Ok(last),
            }
        }
    }

    fn give(&mut self, digest: Digest, content: Option<&Vec<u8>>) -> Result<(), Error> {
        self.say(&ToAgent::Content { digest, length: content.map(|bytes| bytes.len() as u64) })?;
        self.parts(content.map(Vec::as_slice).unwrap_or_default())
    }

    fn parts(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let packed = |part: &[u8]| [&[PLAIN], part].concat();
        bytes.chunks(PART).try_for_each(|part| self.say(&ToAgent::Part(packed(part))))
    }

    fn large(&mut self, length: u64) -> Result<FromAgent, Error> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            match self.next()? {
                FromAgent::Part(part) => bytes.extend(part),
                FromAgent::Ping => {}
                other => return Err(Error::Ended(format!("no part: {other:?}"))),
            }
        }
        Ok(wire::decode(&bytes)?)
    }

    fn say(&mut self, message: &ToAgent) -> Result<(), Error> {
        self.to.write_all(&wire::encode(message)?).map_err(WireError::Io)?;
        Ok(())
    }

    /// Returns the next message. Sends everything that is queued before.
    fn next(&mut self) -> Result<FromAgent, Error> {
        self.to.flush().map_err(WireError::Io)?;
        let message = wire::read(&mut self.from)?;
        self.resident = self.resident.map(|before| resident(self.child.id()).unwrap_or(before));
        Ok(message)
    }

    fn end(mut self) -> Result<(), Error> {
        drop(self.to);
        let ended = self.child.wait().map_err(WireError::Io)?;
        if ended.success() { Ok(()) } else { Err(Error::Ended(ended.to_string())) }
    }
}
