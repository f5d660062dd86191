//! `ebb lint`: finds errors in the autoscaling settings of manifests before a cluster rejects or silently ignores them.
//!
//! Prints one line per problem on stdout, `FILE: KIND/NAME: KEY: message`. All files are read before the first file is
//! checked, because a `config-autoscaler` ConfigMap in one file decides which annotations are valid in the other files.
//! Bias: an autoscaling key or value that Ebb does not know is reported; objects without autoscaling keys are skipped.

mod document;
mod object;
mod place;
mod sidecar;
mod validate;

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use ebb_autoscaler_core::Config;

use self::object::Object;

/// Check the autoscaling settings of manifests.
///
/// Reads the annotations of every object with a pod template (Deployments, Knative Services, bare pods and templates
/// …), containerConcurrency, and config-autoscaler ConfigMaps, in YAML with any number of documents, or JSON.
/// Annotations are checked against the ConfigMap if one is among the files, otherwise against the defaults.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints one line per problem, FILE: KIND/NAME: KEY: message.

Exit status: 0 without problems, 1 with problems or if a file cannot be read, 2 for wrong usage.")]
pub(crate) struct Args {
    /// Manifests; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// A file and the objects in it.
struct File {
    name: String,
    objects: Vec<Object>,
    /// The documents that could not be read.
    unreadable: Vec<document::Unreadable>,
}

/// Checks the files. Returns an error if a file has problems or cannot be read.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let files: Vec<_> = args.files.iter().map(|path| read(path)).collect();
    // Of several ConfigMaps, the last one is used, as with `kubectl apply`.
    let config = files
        .iter()
        .flatten()
        .flat_map(|file| &file.objects)
        .filter_map(Object::config)
        .next_back()
        .unwrap_or_default();

    let mut problems = 0;
    let mut failures = Vec::new();
    for file in files {
        match file {
            Ok(file) => {
                for line in lines(&file, &config) {
                    problems += 1;
                    print_line(&line)?;
                }
            }
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    match problems {
        0 => Ok(()),
        1 => anyhow::bail!("1 problem"),
        _ => anyhow::bail!("{problems} problems"),
    }
}

fn read(path: &Path) -> anyhow::Result<File> {
    let (name, bytes) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).context("stdin")?;
        ("stdin".to_owned(), bytes)
    } else {
        let name = path.display().to_string();
        let bytes = fs::read(path).with_context(|| name.clone())?;
        (name, bytes)
    };
    let (objects, unreadable) = document::read(&bytes);
    Ok(File {
        name,
        objects: objects.into_iter().flat_map(object::flatten).collect(),
        unreadable,
    })
}

/// Returns the problems of a file, one line each: first the problems of the objects, then the unreadable documents.
fn lines(file: &File, config: &Config) -> Vec<String> {
    let problems = file.objects.iter().flat_map(|object| {
        let problems = validate::problems(object, config);
        problems
            .into_iter()
            .map(move |problem| format!("{object}: {problem}"))
    });
    let unreadable = file.unreadable.iter().map(ToString::to_string);
    problems
        .chain(unreadable)
        // Line feeds in values are escaped, because each problem is printed on one line.
        .map(|problem| format!("{}: {}", file.name, problem.replace('\n', "\\n")))
        .collect()
}

/// Prints a line. If the reader (such as `head`) has closed the pipe, this is not an error.
fn print_line(line: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
