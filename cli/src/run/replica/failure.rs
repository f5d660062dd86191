//! The reasons why a replica can fail.
//!
//! The failure of the first replica ends the run, and the text of the failure is the only message to the user. So each
//! text names the command or the address, the observed behaviour and the expected behaviour.

use std::{io, net::SocketAddr, process::ExitStatus, time::Duration};

use ebb_agent::CounterError;

use super::{super::cgroup::TreeError, ready::ProbeError};

/// The reason why a replica never became ready, or ended although the supervisor had not stopped it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The program could not be executed.
    #[error("cannot start {program:?}: {source}; {}", hint(source))]
    Spawn {
        /// The first word of the command.
        program: String,
        /// The error of `execvp`.
        source: io::Error,
    },
    /// The process ended before the replica was ready.
    #[error(
        "{program:?} ended ({status}) before it was ready; the command must stay in the foreground and listen on \
         the given port ({{port}} in its arguments, PORT in its environment)"
    )]
    EndedEarly {
        /// The first word of the command.
        program: String,
        /// The exit status of the process.
        status: ExitStatus,
    },
    /// The process runs, but the replica did not become ready in time.
    #[error("{program:?} was not ready at {address} within {limit:?} (--start-timeout): {seen}")]
    NeverReady {
        /// The first word of the command.
        program: String,
        /// The address that was probed.
        address: SocketAddr,
        /// The time limit, `--start-timeout`.
        limit: Duration,
        /// The error of the last probe.
        #[source]
        seen: ProbeError,
    },
    /// The process ended while the replica served requests.
    #[error("{program:?} ended ({status}) while it was serving")]
    EndedServing {
        /// The first word of the command.
        program: String,
        /// The exit status of the process.
        status: ExitStatus,
    },
    /// An operation on the cgroup of the replica failed.
    #[error(transparent)]
    Cgroup(#[from] TreeError),
    /// The kernel counter cannot be attached or read.
    #[error("cannot count the requests of a replica: {0}")]
    Counter(#[from] CounterError),
    /// No port is free, or the exit status of the process cannot be read.
    #[error("cannot run a replica: {0}")]
    Io(#[from] io::Error),
}

/// Returns a hint for the user on how to avoid this error of `execvp`.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "COMMAND must start with a program in PATH or a path to a program; a script's interpreter must exist"
        }
        io::ErrorKind::PermissionDenied => "the program must be an executable file",
        _ => "COMMAND must start with a program in PATH or a path to a program",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn each_text_is_one_line_and_names_the_command() {
        let program = "serve".to_owned();
        let failures = [
            Failure::Spawn {
                program: program.clone(),
                source: io::ErrorKind::NotFound.into(),
            },
            Failure::EndedEarly {
                program: program.clone(),
                status: ExitStatus::from_raw(0x100),
            },
            Failure::NeverReady {
                program,
                address: ([127, 0, 0, 1], 20_000).into(),
                limit: Duration::from_secs(30),
                seen: ProbeError::Status(503),
            },
        ];
        for failure in failures {
            let text = failure.to_string();
            assert!(text.contains("\"serve\"") && !text.contains('\n'), "{text}");
        }
    }
}
