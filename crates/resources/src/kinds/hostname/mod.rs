//! `hostname`: the name of the host, in `/etc/hostname` and in the running kernel.

use std::path::Path;

use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, PropertyChange, Type, Verb};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Kind, Planned};
use crate::kit::kernel_value::{self, Setting};
use crate::kit::rendered_file::{self, Rendered};
use crate::overlay::Effect;
use crate::system::files::HOST_NAME;
use crate::view::{LookError, View};
use crate::wish::Reader;

/// The kind.
pub struct Hostname;

/// The desired name.
pub struct Wish {
    name: String,
    file: Rendered,
}

/// The state of the host.
pub struct Found {
    file: rendered_file::Found,
    /// The kernel's name for the host.
    running: Setting,
}

impl Kind for Hostname {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        KindSchema::new("hostname", "The name of the host")
            .details(
                "The name takes effect at once and stays after a boot. The kind does not change `/etc/hosts`. \
                 If programs must resolve the name there, declare a `line`. Facts keep the old name until the \
                 next run.",
            )
            .param(Param::new("name", Type::Hostname, "Name, with or without a domain").argument(0).required())
            .example("A name", "hostname \"web1\"\nline \"/etc/hosts\" \"127.0.1.1 web1\" match=\"^127\\\\.0\\\\.1\\\\.1\\\\s\"")
            .whole_system()
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let name = params.required_text("name");
        if !is_hostname(&name) {
            params.problem(ParamProblem::new("name", format!("{name:?} cannot be the name of a host")));
        }
        let file = Rendered {
            path: "/etc/hostname".into(),
            text: Some(format!("{name}\n").into_bytes()),
            attributes: Attributes { mode: Some(0o644), ..Attributes::default() },
            validate: Vec::new(),
            secret: false,
        };
        Wish { name, file }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        vec![
            Claim::path(wish.file.path.to_string_lossy(), Extent::Whole),
            Claim::path(HOST_NAME, Extent::Whole),
        ]
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let running = kernel_value::observe(view, Path::new(HOST_NAME))?;
        Ok(Found { file: rendered_file::observe(view, &wish.file)?, running })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        let planned = rendered_file::plan(&wish.file, &found.file);
        if !found.running.differs(&wish.name) {
            return planned;
        }
        let before = found.running.value.clone();
        planned.also(Verb::Update, PropertyChange::new("name", before, wish.name.clone()))
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let running = found.running.effect(&wish.name);
        rendered_file::effects(&wish.file, &found.file).into_iter().chain(running).collect()
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        if !rendered_file::plan(&wish.file, &found.file).is_in_sync() {
            rendered_file::apply(actor, &wish.file, &found.file)?;
        }
        found.running.set(actor, &wish.name)
    }
}

/// Whether `name` is valid by hostname(7): labels of letters, digits and hyphens. Linux allows 64 bytes.
fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
    };
    name.len() <= 64 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{Trial, params};

    #[test]
    fn the_file_and_the_kernel_get_the_name_and_lose_it_again() {
        let trial = Trial::new();
        trial.write("/etc/hostname", "old\n");
        trial.write(HOST_NAME, "old\n");
        let change = trial.laws("hostname", &params([("name", "web1".into())]));
        let names: Vec<_> = change.properties.iter().map(|p| p.property.as_str()).collect();
        assert_eq!(names, ["content", "name"]);
        assert_eq!(trial.read(HOST_NAME), b"web1\n");
    }

    #[test]
    fn a_name_that_only_the_kernel_lacks_is_set() {
        let trial = Trial::new();
        trial.write("/etc/hostname", "web1\n");
        trial.write(HOST_NAME, "localhost\n");
        trial.laws("hostname", &params([("name", "web1".into())]));
    }

    #[test]
    fn names_are_checked() {
        let check = |name: &str, valid: bool| assert_eq!(is_hostname(name), valid, "{name}");
        check("web1", true);
        check("web1.example.org", true);
        check("-web", false);
        check("web_1", false);
        check("", false);
        check("a..b", false);
        check(&"x".repeat(65), false);
    }
}
