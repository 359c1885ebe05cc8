//! Acts of the agent's own program in a folder that stands for a host: as a controller drives it, over standard input and
//! output, with no connection between. For what an act costs: in instructions, which no load of the machine has a part in,
//! and in time.

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

/// The program that counts instructions, and the Debian package that brings it.
const COUNTER: (&str, &str) = ("valgrind", "valgrind");

/// In memory where there is such a folder: an act waits for the disk after every file.
const MEMORY: &str = "/dev/shm";

/// A folder that stands for a host, and what is to be in it.
#[derive(Debug)]
pub struct Stage {
    folder: tempfile::TempDir,
    resources: Vec<Resource>,
    contents: HashMap<Digest, Vec<u8>>,
}

/// Why an act did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The agent could not be started, or a file not be read or written.
    #[error("{0}: {1}")]
    File(String, io::Error),
    /// The conversation ended early.
    #[error("talk to the agent: {0}")]
    Wire(#[from] WireError),
    /// It ended in another way than with every resource in place.
    #[error("the act ended otherwise than it should: {0}")]
    Ended(String),
}

/// Makes sure that instructions can be counted here.
///
/// # Errors
/// [`testbed::Error::Unavailable`] where the program that counts is missing and cannot be installed.
pub fn can_count() -> Result<(), testbed::Error> {
    testbed::install(&[COUNTER])
}

impl Stage {
    /// `count` files that are not there yet, each with a content of its own.
    ///
    /// # Errors
    /// When the folder cannot be made.
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

    /// `count` folders of releases, of which five are to stay.
    ///
    /// # Errors
    /// When the folder cannot be made.
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

    /// Looks and acts with the agent at `agent`; how long the act took, from the start of the program to its end.
    ///
    /// # Errors
    /// When the act does not end with every resource in place.
    pub fn time(&self, agent: &Path) -> Result<Duration, Error> {
        let plan = self.look(agent)?;
        let started = Instant::now();
        self.act(Command::new(agent), &plan).map(|()| started.elapsed())
    }

    /// Looks with the agent at `agent`, and acts with it under a program that counts: the instructions of the act.
    ///
    /// # Errors
    /// As for [`Self::time`]; see [`can_count`].
    pub fn instructions(&self, agent: &Path) -> Result<u64, Error> {
        let plan = self.look(agent)?;
        let counts = self.folder.path().join("counts");
        let mut counter = Command::new(COUNTER.0);
        let into: OsString = ["--cachegrind-out-file=".as_ref(), counts.as_os_str()].into_iter().collect();
        // A third of the time that callgrind takes, which also counts by caller.
        counter.args(["--quiet", "--tool=cachegrind", "--cache-sim=no"]).arg(into).arg(agent);
        self.act(counter, &plan)?;
        let text = fs::read_to_string(&counts).map_err(|error| file(&counts, error))?;
        let sum = text.lines().find_map(|line| line.strip_prefix("summary: ")?.trim().parse().ok());
        sum.ok_or_else(|| Error::Ended(format!("{} says no sum", counts.display())))
    }

    /// Looks and acts with the agent at `agent`; the most memory that the act held at once, in bytes.
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

    /// The folder that stands for the host.
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

    /// One conversation with `program`; the message that ends it.
    fn ask(&self, program: Command, task: Task) -> Result<FromAgent, Error> {
        let mut talk = self.begin(program, task)?;
        let last = talk.last(&self.contents)?;
        talk.end()?;
        Ok(last)
    }

    /// Starts `program` and gives it its task.
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

/// Whether the last word of an act says that all of its plan was done.
fn done(last: FromAgent, plan: &HostPlan) -> Result<(), Error> {
    match last {
        FromAgent::Report(report) if is_done(&report, plan) => Ok(()),
        other => Err(Error::Ended(format!("{other:?}"))),
    }
}

/// Whether an act did all that its plan says.
fn is_done(report: &HostReport, plan: &HostPlan) -> bool {
    report.state == HostState::Changed && report.results.len() == plan.steps.len()
}

/// The most memory that a process held at once, in bytes: `VmHWM` of proc(5), which says it in KiB. None of one that ended.
fn resident(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
    line.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

fn file(path: &Path, error: io::Error) -> Error {
    Error::File(path.display().to_string(), error)
}

/// The controller's end of a conversation.
struct Talk {
    child: Child,
    to: BufWriter<ChildStdin>,
    from: BufReader<ChildStdout>,
    /// The most memory that the program held at once, if that is to be known: asked for after each message, because the
    /// program ends with its last.
    resident: Option<u64>,
}

impl Talk {
    /// Takes the agent's hello.
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

    /// Answers what the agent asks, until it says its last.
    fn last(&mut self, contents: &HashMap<Digest, Vec<u8>>) -> Result<FromAgent, Error> {
        loop {
            match self.next()? {
                FromAgent::Need(digests) => {
                    digests.into_iter().try_for_each(|digest| self.give(digest, contents.get(&digest)))?;
                }
                // Who is silent is taken for dead.
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

    /// The next message; what was said until then is on its way first.
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
