//! Handles clap's messages. Help and version are answers; everything else is a mistake in the arguments. For an
//! unknown word, this file suggests Converge's word or lists the valid ones.

use std::env;
use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};
use converge_model::exit;

use crate::cli::Cli;
use crate::failure::{ARGUMENTS, Failure};
use crate::foreign_options;
use crate::view::json;
use crate::view::wrap::{width_of, wrapped};

/// Shows the message and returns the exit code.
pub(crate) fn show(error: &clap::Error) -> u8 {
    let words: Vec<_> = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    // clap stopped before it read this option.
    if words.iter().take_while(|word| *word != "--").any(|word| word == "--json") {
        json::choose();
    }
    if let Some(failure) = unknown_option(error, &words).or_else(|| unknown_command(error, &words)) {
        return failure.code(ARGUMENTS).show();
    }
    if json::is_chosen() && error.use_stderr() {
        return plain(error).show();
    }
    // clap has not read the options when it shows the help.
    let is_plain = words.iter().any(|word| word == "--no-color");
    let color = if is_plain { ColorChoice::Never } else { ColorChoice::Auto };
    let text = error.render().ansi().to_string();
    // A write error here cannot be reported.
    let _ = match error.use_stderr() {
        // A pipe gets unwrapped lines, because scripts search in them.
        true if !io::stderr().is_terminal() => write!(AutoStream::new(io::stderr(), color), "{text}"),
        true => write!(AutoStream::new(io::stderr(), color), "{}", wrapped(&text, width_of(io::stderr()))),
        false => write!(AutoStream::new(io::stdout(), color), "{}", wrapped(&text, width_of(io::stdout()))),
    };
    if error.use_stderr() { exit::ERROR } else { exit::OK }
}

/// Converts clap's message into a failure: the mistake, and the hints below it.
fn plain(error: &clap::Error) -> Failure {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::new("a command is missing")
            .help("`converge --help` lists the commands")
            .code(ARGUMENTS);
    }
    let text = error.render().to_string();
    let (mistake, rest) = text.trim_end().split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let mistake = mistake.strip_prefix("error: ").unwrap_or(mistake);
    let failure = Failure::new(mistake).code(ARGUMENTS);
    let help = rest.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    if help.is_empty() { failure } else { failure.help(help) }
}

fn unknown_option(error: &clap::Error, words: &[String]) -> Option<Failure> {
    let option = unknown(error, ErrorKind::UnknownArgument, ContextKind::InvalidArg)?;
    if let Some(help) = foreign_options::option(option, words) {
        return Some(Failure::new(format!("unexpected argument '{option}'")).help(help));
    }
    // clap suggests the nearest option. Without one, it explains how to pass an option as a value, which does not
    // help here.
    let is_answered = error.get(ContextKind::SuggestedArg).is_some() || !option.starts_with('-');
    (!is_answered).then(|| {
        let command = named(words);
        let options: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        let options: Vec<_> = options.iter().map(|name| format!("--{name}")).collect();
        Failure::new(format!("unexpected argument '{option}'"))
            .help(format!("the options are {}", options.join(", ")))
    })
}

fn unknown_command(error: &clap::Error, words: &[String]) -> Option<Failure> {
    let command = unknown(error, ErrorKind::InvalidSubcommand, ContextKind::InvalidSubcommand)?;
    let of_all = || {
        let is_answered = error.get(ContextKind::SuggestedSubcommand).is_some();
        let around = named(words);
        let names: Vec<_> = around.get_subcommands().map(Command::get_name).collect();
        (!is_answered).then(|| format!("the commands are {}", names.join(", ")))
    };
    let help = foreign_options::command(command, words).or_else(of_all)?;
    Some(Failure::new(format!("unrecognized subcommand '{command}'")).help(help))
}

/// Returns the unknown word of an error of this kind.
fn unknown(error: &clap::Error, kind: ErrorKind, context: ContextKind) -> Option<&str> {
    match error.get(context) {
        Some(ContextValue::String(word)) if error.kind() == kind => Some(word),
        _ => None,
    }
}

/// Returns the innermost command that the line names, with the options that every command has.
fn named(words: &[String]) -> Command {
    let mut command = Cli::command();
    command.build();
    for word in words.iter().filter(|word| !word.starts_with('-')) {
        match command.find_subcommand(word) {
            Some(inner) => command = inner.clone(),
            None => break,
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `check` with each command's name and its help, once short and once long.
    fn each_help(command: &mut Command, check: &mut impl FnMut(&str, &str, bool)) {
        let name = command.get_name().to_owned();
        check(&name, &command.render_help().ansi().to_string(), true);
        check(&name, &command.render_long_help().ansi().to_string(), false);
        command.get_subcommands_mut().for_each(|inner| each_help(inner, check));
    }

    fn all_commands() -> Command {
        let mut command = Cli::command();
        command.build();
        command
    }

    #[test]
    fn help_fits_the_terminal_and_breaks_no_word() {
        let mut tried = 0;
        each_help(&mut all_commands(), &mut |name, help, _| {
            for width in [60, 80, 200] {
                let help = anstream::adapter::strip_str(help).to_string();
                let shown = wrapped(&help, width);
                let too_long = shown.lines().find(|line| line.chars().count() > width);
                assert_eq!(too_long, None, "{name} in {width} columns");
                assert!(shown.split_whitespace().eq(help.split_whitespace()), "{name}: {shown}");
                tried += 1;
            }
        });
        assert!(tried > 100, "only {tried} helps");
    }

    #[test]
    fn short_help_of_plan_and_apply_fits_a_small_terminal() {
        let mut command = all_commands();
        for name in ["plan", "apply"] {
            let help = command.find_subcommand_mut(name).map(|found| found.render_help().ansi().to_string());
            let shown = wrapped(&help.unwrap_or_default(), 80);
            assert!((10..=24).contains(&shown.lines().count()), "{name}: {shown}");
        }
    }

    #[test]
    fn an_option_is_explained_in_one_sentence() {
        fn flaws(command: &Command, found: &mut Vec<String>) {
            for option in command.get_arguments() {
                let text = option.get_help().map(ToString::to_string).unwrap_or_default();
                let begins = ["What ", "Whether ", "Who ", "Whoever ", "That ", "Nor ", "How ", "Where "];
                let is_sentence = !text.is_empty() && text.chars().count() <= 110 && !text.contains(". ");
                if !is_sentence || begins.iter().any(|word| text.starts_with(word)) {
                    found.push(format!("{} {}: {text}", command.get_name(), option.get_id()));
                }
            }
            command.get_subcommands().for_each(|inner| flaws(inner, found));
        }
        let mut found = Vec::new();
        flaws(&all_commands(), &mut found);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
