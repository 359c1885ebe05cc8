//! The common parts of the agent's tests: short catalogs, a host in memory, and a controller with contents.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use converge_model::catalog::Body;
use converge_model::{
    Address, Catalog, Content, Digest, EventKind, HostName, HostPlan, HostReport, Options, Params, Resource,
    RunId, Secret, SecretRef, SecretTable, Value,
};
use converge_resources::system::fake::World;

use crate::channel::{Channel, ChannelError};
use crate::serve::Order;
use crate::state::State;
use crate::work::{act_in, look_in};

/// A resource with only a name, in body 0.
pub(crate) fn resource(kind: &str, name: &str) -> Resource {
    let first =
        converge_resources::kind(kind).and_then(|kind| kind.schema().params.first().map(|p| p.name.clone()));
    let mut params = Params::default();
    params.set(first.as_deref().unwrap_or("name"), Value::from(name));
    Resource {
        address: Address::new(None, kind, name),
        aliases: Vec::new(),
        kind: kind.to_owned(),
        params,
        claims: Vec::new(),
        bodies: vec![0],
        after: Vec::new(),
        notify: Vec::new(),
        options: Options::default(),
    }
}

/// A host with its state and its controller.
pub(crate) struct Bench {
    _folder: tempfile::TempDir,
    pub(crate) world: World,
    pub(crate) state: State,
    pub(crate) controller: Controller,
    /// The secrets of its catalogs.
    pub(crate) secrets: Mutex<SecretTable>,
}

/// A function that gets each event before the agent continues.
type Meanwhile = Box<dyn FnMut(&EventKind) + Send>;

/// A controller with the contents that a test gave it. It keeps the events.
#[derive(Default)]
pub(crate) struct Controller {
    contents: Mutex<HashMap<Digest, Vec<u8>>>,
    pub(crate) events: Mutex<Vec<EventKind>>,
    /// How many more exchanges with the controller the agent survives.
    left: Mutex<Option<usize>>,
    /// A function that runs when it is asked to confirm a group.
    pub(crate) confirm: Mutex<Option<Box<dyn FnMut() + Send>>>,
    /// The seconds that it got to confirm each group.
    pub(crate) given: Mutex<Vec<u32>>,
    /// A function that runs when the agent reports an event.
    meanwhile: Mutex<Option<Meanwhile>>,
    /// Whether the act should stop.
    pub(crate) stop: AtomicBool,
}

impl Controller {
    /// Lets the agent die after `at` more exchanges with the controller: in the middle of a file, or between two
    /// steps.
    pub(crate) fn die_at(&self, at: usize) {
        *self.left.lock().unwrap() = Some(at);
    }

    /// Lets the agent live again.
    pub(crate) fn live(&self) {
        *self.left.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    fn word(&self) {
        let mut left = self.left.lock().unwrap();
        let dies = *left == Some(0);
        *left = left.map(|left| left.saturating_sub(1));
        drop(left);
        if dies {
            std::panic::resume_unwind(Box::new("the agent dies here"));
        }
    }
}

/// A stream during which the agent may die.
struct Mortal<'a>(std::io::Cursor<Vec<u8>>, &'a Controller);

impl Read for Mortal<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1.word();
        self.0.read(buffer)
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("host")).unwrap();
        let world = World::new(&folder.path().join("host")).unwrap();
        let state = State::in_folder(folder.path().join("state"));
        Self { world, state, controller: Controller::default(), secrets: Mutex::default(), _folder: folder }
    }

    /// The folder that stands for the host.
    pub(crate) fn root(&self) -> &Path {
        converge_resources::System::files(&self.world).root()
    }

    /// A file with this content, which the controller has.
    pub(crate) fn file(&self, path: &str, text: &str) -> Resource {
        let mut file = resource("file", path);
        let digest = Digest::of(text.as_bytes());
        self.controller.contents.lock().unwrap().insert(digest, text.as_bytes().to_vec());
        let content = Content::Plain { digest, length: text.len() as u64 };
        file.params.set("content", Value::Content(content));
        file
    }

    /// A text that contains `secret`. As in the language, its lines without the secret are clean.
    pub(crate) fn secret_text(&self, text: &str, secret: &str) -> SecretRef {
        let lines = (0_u32..).zip(text.split('\n'));
        let clean = lines.filter(|(_, line)| !line.contains(secret)).map(|(at, _)| at).collect();
        let mut table = self.secrets.lock().unwrap();
        table.add(Secret::new(secret));
        table.add_text(Secret::new(text), clean)
    }

    /// An order with these resources and the secrets of the bench.
    pub(crate) fn order(&self, resources: &[Resource]) -> Order {
        let mut order = order(resources);
        order.catalog.secrets = self.secrets.lock().unwrap().clone();
        order
    }

    pub(crate) fn look(&self, resources: &[Resource]) -> HostPlan {
        look_in(&self.world, &self.state, &self.order(resources), &self.controller).unwrap()
    }

    /// Looks and applies the plan.
    pub(crate) fn apply(&self, resources: &[Resource]) -> HostReport {
        let plan = self.look(resources);
        assert_eq!(plan.problems, []);
        act_in(&self.world, &self.state, &self.order(resources), plan.token, &self.controller).unwrap()
    }

    /// Looks and applies like [`apply`](Self::apply), beside another program.
    pub(crate) fn apply_beside(
        &self,
        resources: &[Resource],
        is_time: impl Fn(&EventKind) -> bool + Send + 'static,
        deed: impl FnOnce() + Send,
    ) -> HostReport {
        self.beside(is_time, deed, || self.apply(resources))
    }

    /// Runs `work`. At the first event for which `is_time` holds, another program runs `deed`. The agent continues
    /// when that is done.
    pub(crate) fn beside<T>(
        &self,
        is_time: impl Fn(&EventKind) -> bool + Send + 'static,
        deed: impl FnOnce() + Send,
        work: impl FnOnce() -> T,
    ) -> T {
        // If the act panicked, the thread is never called. It must not wait for ever.
        const PATIENCE: Duration = Duration::from_secs(30);
        let (call, calls) = channel();
        let (done, ends) = channel();
        let mut is_called = false;
        *self.controller.meanwhile.lock().unwrap() = Some(Box::new(move |event| {
            if !is_called && is_time(event) {
                is_called = true;
                call.send(()).unwrap();
                ends.recv().unwrap();
            }
        }));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                if calls.recv_timeout(PATIENCE).is_ok() {
                    deed();
                    done.send(()).unwrap();
                }
            });
            let worked = work();
            *self.controller.meanwhile.lock().unwrap() = None;
            worked
        })
    }
}

/// Whether an event reports the end of a step at `address`.
pub(crate) fn ended(address: &'static str) -> impl Fn(&EventKind) -> bool + Send {
    move |event| matches!(event, EventKind::StepFinished { result } if result.address.as_str() == address)
}

/// An order with these resources. Each claims what its kind says.
pub(crate) fn order(resources: &[Resource]) -> Order {
    let mut resources = resources.to_vec();
    let bodies = 1 + resources.iter().flat_map(|r| &r.bodies).max().copied().unwrap_or(0);
    for resource in &mut resources {
        let checked = converge_resources::kind(&resource.kind).unwrap().check(&resource.params).unwrap();
        resource.claims = checked.claims;
    }
    let catalog = Catalog {
        host: HostName::new("h1").unwrap(),
        project: "test".to_owned(),
        resources,
        bodies: (0..bodies).map(|body| Body { name: format!("body {body}") }).collect(),
        settled: Vec::new(),
        secrets: SecretTable::default(),
    };
    Order { run: RunId::new("run-1").unwrap(), by: "ada@laptop".to_owned(), root: None, guard: None, catalog }
}

impl Channel for Controller {
    fn need(&self, _: &[Digest]) -> Result<(), ChannelError> {
        Ok(())
    }

    fn text(&self, digest: Digest) -> Result<Vec<u8>, ChannelError> {
        let found = self.contents.lock().unwrap().get(&digest).cloned();
        found.ok_or(ChannelError::Unavailable(digest))
    }

    fn content(&self, digest: Digest) -> Result<Box<dyn Read + '_>, ChannelError> {
        Ok(Box::new(Mortal(std::io::Cursor::new(self.text(digest)?), self)))
    }

    fn event(&self, event: EventKind) {
        self.word();
        self.meanwhile.lock().unwrap().iter_mut().for_each(|meanwhile| meanwhile(&event));
        self.events.lock().unwrap().push(event);
    }

    fn confirm(&self, seconds: u32) {
        self.given.lock().unwrap().push(seconds);
        self.confirm.lock().unwrap().iter_mut().for_each(|confirm| confirm());
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
