//! The `ebb` command.

mod config_file;
mod lint;
mod listeners;
mod option;
mod problems;
mod run;
mod screen;
mod simulate;
mod top;
mod watch;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Autoscales HTTP servers on the requests they really have in flight, counted in the kernel.
#[derive(Debug, Parser)]
#[command(name = "ebb", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Top(top::Args),
    Watch(watch::Args),
    Simulate(simulate::Args),
    Lint(lint::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Top(args) => top::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Lint(args) => lint::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Each line is printed as an error, because the text may contain several problems, one per line.
            for line in text(&error).lines() {
                // Writing may fail if nothing reads stderr; the exit status reports the error too.
                let _ = writeln!(io::stderr(), "error: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Returns the error and its causes, without causes whose text the error already contains.
fn text(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .fold(String::new(), |text, cause| match text {
            text if text.is_empty() => cause,
            text if text.contains(&cause) => text,
            text => format!("{text}: {cause}"),
        })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error: anyhow::Result<()> = Err(anyhow::anyhow!("refused"));
        let error = error.context("cannot start: refused").context("no pod");
        assert_eq!(text(&error.unwrap_err()), "no pod: cannot start: refused");
    }
}
