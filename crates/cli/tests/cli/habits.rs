//! Habits of users of other tools. `habits.txt` has what they type, the required parts of the message, its grade and
//! the message itself. `CONVERGE_WRITE_DOCS=1` writes the messages again. Only a reader changes the grades.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::world::{World, repository, timeless};

/// The lowest grade of a message, from 1 (useless) to 5 (says what to write).
const LOWEST: u8 = 4;

/// The beginning of each habit. Its title follows.
const TITLE: &str = "\n=== ";

/// One habit in the file.
#[derive(Debug, Default)]
struct Habit {
    title: String,
    /// The grade that a reader gave the message.
    grade: u8,
    /// The arguments of `converge`, or the file of another test with the message.
    place: Place,
    /// The files of the project: a path and a text.
    files: Vec<(String, String)>,
    /// The required parts of the message, one per line.
    says: String,
    /// The message.
    shown: String,
}

/// Where the message of a habit is tested.
#[derive(Debug)]
enum Place {
    /// In this test, by running these arguments.
    Here(String),
    /// In this file of the repository: its message needs a second host or a real service.
    Elsewhere(String),
    /// Not tested, for this reason: it has no message of its own.
    LeftOut(String),
}

impl Default for Place {
    fn default() -> Self {
        Self::Here(String::new())
    }
}

impl Habit {
    fn read(text: &str) -> Self {
        let mut sections = text.split("\n--- ");
        let mut head = sections.next().unwrap().lines();
        let mut habit = Self { title: head.next().unwrap().to_owned(), ..Self::default() };
        for line in head {
            match line.split_once(": ").unwrap() {
                ("grade", grade) => habit.grade = grade.parse().unwrap(),
                ("run", arguments) => habit.place = Place::Here(arguments.to_owned()),
                ("tested in", path) => habit.place = Place::Elsewhere(path.to_owned()),
                (key, reason) => {
                    assert_eq!(key, "left out", "{}", habit.title);
                    habit.place = Place::LeftOut(reason.to_owned());
                }
            }
        }
        for section in sections {
            let (name, text) = section.split_once('\n').unwrap_or((section, ""));
            let text = format!("{}\n", text.trim_end_matches('\n'));
            match name.split_once(' ') {
                Some(("file", path)) => habit.files.push((path.to_owned(), text)),
                None if name == "says" => habit.says = text,
                _ => {
                    assert_eq!(name, "shown", "{}", habit.title);
                    habit.shown = text;
                }
            }
        }
        habit
    }

    fn written(&self) -> String {
        let mut text = match &self.place {
            Place::LeftOut(reason) => return format!("{}\nleft out: {reason}\n", self.title),
            Place::Here(arguments) => format!("{}\ngrade: {}\nrun: {arguments}\n", self.title, self.grade),
            Place::Elsewhere(path) => format!("{}\ngrade: {}\ntested in: {path}\n", self.title, self.grade),
        };
        for (path, content) in &self.files {
            write!(text, "--- file {path}\n{content}").unwrap();
        }
        write!(text, "--- says\n{}", self.says).unwrap();
        if let Place::Here(_) = self.place {
            write!(text, "--- shown\n{}", self.shown).unwrap();
        }
        text
    }

    /// Returns the tool's current message.
    fn message(&self) -> Option<String> {
        match &self.place {
            Place::Here(arguments) => Some(self.run(arguments)),
            Place::Elsewhere(path) => Some(fs::read_to_string(repository().join(path)).unwrap()),
            Place::LeftOut(_) => None,
        }
    }

    fn run(&self, arguments: &str) -> String {
        let world = World::new();
        self.files.iter().for_each(|(path, text)| world.write(path, text));
        let arguments: Vec<_> = arguments.split(' ').collect();
        let said = world.run(&arguments);
        let lines: Vec<_> = said.out.lines().chain(said.err.lines()).map(str::trim_end).collect();
        timeless(lines.join("\n").trim_matches('\n'))
    }

    /// Returns the flaws of `message`.
    fn flaws(&self, message: &str) -> Vec<String> {
        // The message is wrapped to the terminal's width.
        let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let missing = self.says.lines().filter(|piece| !piece.is_empty() && !words.contains(*piece));
        let mut flaws: Vec<_> = missing.map(|piece| format!("{}: lacks {piece}", self.title)).collect();
        if self.grade < LOWEST {
            flaws.push(format!("{}: grade {}", self.title, self.grade));
        }
        if matches!(self.place, Place::Here(_)) && message != self.shown && !is_writing() {
            flaws.push(format!("{}: says now\n{message}", self.title));
        }
        flaws
    }
}

fn is_writing() -> bool {
    std::env::var_os("CONVERGE_WRITE_DOCS").is_some()
}

fn path() -> PathBuf {
    repository().join("crates/cli/tests/cli/habits.txt")
}

fn habits() -> (String, Vec<Habit>) {
    let text = fs::read_to_string(path()).unwrap();
    let mut parts = text.split(TITLE);
    let head = parts.next().unwrap().to_owned();
    (head, parts.map(Habit::read).collect())
}

#[test]
fn habits_of_other_tools_are_answered() {
    let (head, mut habits) = habits();
    let mut flaws = Vec::new();
    for habit in &mut habits {
        let Some(message) = habit.message() else { continue };
        flaws.extend(habit.flaws(&message));
        habit.shown = message;
    }
    if is_writing() {
        let texts: Vec<_> = habits.iter().map(Habit::written).collect();
        fs::write(path(), format!("{head}{TITLE}{}", texts.join(TITLE))).unwrap();
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
}

#[test]
fn habits_are_fifty_and_more_and_each_has_its_title() {
    let (_, habits) = habits();
    let titles: std::collections::BTreeSet<_> = habits.iter().map(|habit| &habit.title).collect();
    assert!(habits.len() >= 50 && titles.len() == habits.len());
}
