//! `block`: lines of a text file between two marker lines, or their absence.

use converge_model::{Claim, KindSchema, Param, ParamProblem, Shown, Type};

use crate::actor::{Actor, ApplyError};
use crate::kind::{Kind, Planned};
use crate::kit::edited_file::{self, Edit, Part, Target};
use crate::kit::lines::{self, Lines, Placement};
use crate::overlay::Effect;
use crate::view::{LookError, View};
use crate::wish::{Reader, Text};

/// The kind.
pub struct Block;

/// The desired block.
pub struct Wish {
    target: Target,
    name: String,
    absent: bool,
    content: Text,
    begin: String,
    end: String,
    placement: Placement,
}

impl Kind for Block {
    type Wish = Wish;
    type Found = edited_file::Found;

    fn schema() -> KindSchema {
        let mut schema = KindSchema::new("block", "A block of lines between two markers in a text file")
            .details(
                "The lines are between `# BEGIN CONVERGE NAME` and `# END CONVERGE NAME`. Text outside the \
                 markers keeps its bytes. An existing block stays at its place. A new block goes to the end, \
                 or to the place in `insert-after` or `insert-before`. Unpaired markers are an error of the \
                 plan.",
            )
            .param(Param::new("path", Type::Path, "File").argument(0).required())
            .param(
                Param::new("name", Type::Text, "Name of the block within its file; part of the markers")
                    .argument(1)
                    .default("block"),
            )
            .param(
                Param::new("state", Type::Text, "Wanted state")
                    .one_of(&["present", "absent"])
                    .default("present"),
            )
            .param(Param::new("content", Type::Text, "Lines of the block"))
            .param(
                Param::new(
                    "marker",
                    Type::Text,
                    "Marker lines: `{mark}` becomes `BEGIN` and `END`, `{name}` the name",
                )
                .default("# {mark} CONVERGE {name}"),
            );
        schema.params.extend(lines::placement_params());
        schema.params.extend(edited_file::params());
        schema.example(
            "The hosts of a cluster",
            "block \"/etc/hosts\" \"cluster\" {\n    content \"192.0.2.11 db1\\n192.0.2.12 db2\"\n}",
        )
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let name = params.text("name").unwrap_or_else(|| "block".to_owned());
        let marker = params.text("marker").unwrap_or_else(|| "# {mark} CONVERGE {name}".to_owned());
        let line = |mark: &str| marker.replace("{mark}", mark).replace("{name}", &name);
        let mut wish = Wish {
            target: edited_file::decode(params),
            absent: params.choice("state", &[("present", false), ("absent", true)]),
            content: params
                .several_lines(|params| params.maybe_secret("content"))
                .unwrap_or_else(|| Text::Plain(String::new())),
            begin: line("BEGIN"),
            end: line("END"),
            placement: lines::decode_placement(params),
            name,
        };
        wish.target.secret = wish.content.is_secret();
        problems(params, &wish);
        wish
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        edited_file::claim(&wish.target, format!("block:{}", wish.begin))
    }

    fn suffix(wish: &Wish) -> Option<String> {
        Some(wish.name.clone())
    }

    fn warnings(wish: &Wish) -> Vec<ParamProblem> {
        wish.target.warnings()
    }

    fn text(wish: &Wish) -> Option<Vec<u8>> {
        edited_file::text(wish)
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<edited_file::Found, LookError> {
        edited_file::observe(view, &wish.target)
    }

    fn plan(wish: &Wish, found: &edited_file::Found) -> Planned {
        edited_file::plan(wish, found)
    }

    fn effects(wish: &Wish, found: &edited_file::Found) -> Vec<Effect> {
        edited_file::effects(wish, found)
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &edited_file::Found) -> Result<(), ApplyError> {
        edited_file::apply(actor, wish, found)
    }
}

fn problems(params: &mut Reader<'_>, wish: &Wish) {
    if wish.begin == wish.end || wish.begin.contains('\n') {
        let help = "a marker is one line and contains `{mark}`";
        params.problem(
            ParamProblem::new("marker", "must give two different lines for `BEGIN` and `END`").help(help),
        );
    }
    if !wish.absent && !params.has("content") {
        params.problem(ParamProblem::new("content", "is missing"));
    }
    if wish.lines().any(|line| line == wish.begin.as_bytes() || line == wish.end.as_bytes()) {
        params.problem(ParamProblem::new("content", "must not contain a marker of the block"));
    }
}

impl Wish {
    /// The lines between the markers.
    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let text = self.content.expose();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let lines = text.split(|byte| *byte == b'\n');
        lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).filter(move |_| !text.is_empty())
    }

    /// The indexes of the block's first line and of the line after its last, markers included.
    fn find(&self, lines: &Lines) -> Result<Option<(usize, usize)>, String> {
        let of = |marker: &str| -> Vec<usize> {
            let marked = lines.iter().enumerate().filter(|(_, line)| *line == marker.as_bytes());
            marked.map(|(at, _)| at).collect()
        };
        match (&of(&self.begin)[..], &of(&self.end)[..]) {
            ([], []) => Ok(None),
            ([begin], [end]) if begin < end => Ok(Some((*begin, *end + 1))),
            _ => Err(format!(
                "each marker of the block must occur once, in this order: {:?}, {:?}",
                self.begin, self.end
            )),
        }
    }
}

impl Part for Wish {
    fn target(&self) -> &Target {
        &self.target
    }

    fn edit(&self, text: &[u8]) -> Edit {
        let mut lines = Lines::of(text);
        let found = match self.find(&lines) {
            Ok(found) => found,
            Err(why) => return Edit::Refused(why),
        };
        match found {
            None if self.absent => return Edit::Kept("no such block is there".to_owned()),
            Some((from, to)) if self.absent => lines.remove(from, to),
            Some((from, to)) => {
                if lines.iter().skip(from + 1).take(to - from - 2).eq(self.lines()) {
                    return Edit::Kept("the block is there".to_owned());
                }
                lines.remove(from + 1, to - 1);
                for (at, line) in self.lines().enumerate() {
                    lines.insert(from + 1 + at, line);
                }
            }
            None => {
                let start = lines.place(&self.placement);
                let all =
                    [self.begin.as_bytes()].into_iter().chain(self.lines()).chain([self.end.as_bytes()]);
                for (at, line) in all.enumerate() {
                    lines.insert(start + at, line);
                }
            }
        }
        Edit::New(lines.join())
    }

    fn absent(&self) -> bool {
        self.absent
    }

    fn shown(&self) -> Shown {
        let with = if self.absent { "without" } else { "with" };
        Shown::Text(format!("{with} the block {:?}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use converge_model::{Params, Value};

    use crate::kinds::testing::{Trial, impossible, params, values};
    use crate::overlay::Effect;

    const BLOCK: &str = "# BEGIN CONVERGE block\none\ntwo\n# END CONVERGE block\n";

    fn block(content: &str, more: &[(&str, &str)]) -> Params {
        let mut params = params([("path", "/etc/x".into()), ("content", content.into())]);
        more.iter().for_each(|(name, value)| params.set(name, (*value).into()));
        params
    }

    #[test]
    fn the_block_comes_changes_and_goes_and_the_rest_keeps_its_bytes() {
        let check = |before: &str, content: &str, more: &[(&str, &str)], after: &str| {
            let trial = Trial::new();
            trial.write("/etc/x", before);
            trial.laws("block", &block(content, more));
            assert_eq!(String::from_utf8(trial.read("/etc/x")).unwrap(), after);
        };
        check("", "one\ntwo", &[], BLOCK);
        check("a\n", "one\ntwo\n", &[], &format!("a\n{BLOCK}"));
        check(&format!("a\n{BLOCK}b"), "one", &[], "a\n# BEGIN CONVERGE block\none\n# END CONVERGE block\nb");
        check(&format!("a\n{BLOCK}b"), "", &[("state", "absent")], "a\nb");
        check("a\nb\n", "one\ntwo", &[("insert-before", "^b")], &format!("a\n{BLOCK}b\n"));
        check(
            "a\r\n",
            "x",
            &[("marker", "// {mark} {name}")],
            "a\r\n// BEGIN block\r\nx\r\n// END block\r\n",
        );
        check(BLOCK, "", &[], "# BEGIN CONVERGE block\n# END CONVERGE block\n");
        let three = "# BEGIN CONVERGE block\nx\ny\nz\n# END CONVERGE block\n";
        check(&format!("a\n{BLOCK}b\n"), "x\ny\nz", &[], &format!("a\n{three}b\n"));
        check(BLOCK, "x", &[("name", "n")], &format!("{BLOCK}# BEGIN CONVERGE n\nx\n# END CONVERGE n\n"));
    }

    #[test]
    fn a_block_in_sync_stays_and_a_torn_one_is_an_error() {
        let trial = Trial::new();
        trial.write("/etc/x", format!("a\n{BLOCK}"));
        trial.assert_in_sync("block", &block("one\ntwo", &[]));
        for torn in ["# BEGIN CONVERGE block\n", "# END CONVERGE block\n# BEGIN CONVERGE block\n"] {
            trial.write("/etc/x", torn);
            let why = impossible(trial.plan("block", &block("one", &[])));
            assert!(why.contains("must occur once"), "{why}");
        }
    }

    #[test]
    fn an_absent_block_needs_no_file_and_makes_none() {
        let trial = Trial::new();
        let absent = params([("path", "/etc/x".into()), ("state", "absent".into())]);
        trial.assert_in_sync("block", &absent);
        let later = trial.plan_after(vec![Effect::Open], "block", &absent);
        assert!(later.is_in_sync(), "{later:?}");
        trial.write("/etc/x", "a\n");
        trial.assert_in_sync("block", &absent);
    }

    #[test]
    fn a_secret_is_masked() {
        let trial = Trial::new();
        trial.write("/etc/x", BLOCK);
        let mut wish = block("", &[]);
        wish.set("content", Value::Scalar(trial.secret("hunter22")));
        let change = trial.laws("block", &wish);
        assert!(!values(&change).contains("bytes"), "a size tells of it: {change:?}");
        assert!(change.irreversible.is_some());
    }

    #[test]
    fn mistakes_are_found_before_the_host() {
        let check = |params: Params, expected: &str| {
            let problems = Trial::new().problems("block", &params);
            assert!(problems.iter().any(|problem| problem.message.contains(expected)), "{problems:?}");
        };
        check(params([("path", "/etc/x".into())]), "is missing");
        check(block("x", &[("marker", "# mark")]), "two different lines");
        check(block("# END CONVERGE block", &[]), "a marker of the block");
    }
}
