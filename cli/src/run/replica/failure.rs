//! Why a replica failed.
//!
//! The first replica's failure ends the run, and its text is the only message to the user. So each text names the command or
//! the address, what was observed, and what is expected instead.

use std::{io, net::SocketAddr, process::ExitStatus, time::Duration};

use ebb_agent::CounterError;

use super::{super::cgroup::TreeError, ready::ProbeError};

/// Why a replica never became ready, or ended without an order.
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
    /// It ended before it was ready.
    #[error(
        "{program:?} ended ({status}) before it was ready; the command has to stay in the foreground and listen on \
         the port that {{port}} and PORT give"
    )]
    EndedEarly {
        /// The first word of the command.
        program: String,
        /// Its exit status.
        status: ExitStatus,
    },
    /// It runs but did not become ready.
    #[error("{program:?} was not ready at {address} within {limit:?} (--start-timeout): {seen}")]
    NeverReady {
        /// The first word of the command.
        program: String,
        /// The address that was probed.
        address: SocketAddr,
        /// The time limit.
        limit: Duration,
        /// The error of the last probe.
        #[source]
        seen: ProbeError,
    },
    /// It ended while it served requests.
    #[error("{program:?} ended ({status}) while it was serving")]
    EndedServing {
        /// The first word of the command.
        program: String,
        /// Its exit status.
        status: ExitStatus,
    },
    /// A failure of its cgroup.
    #[error(transparent)]
    Cgroup(#[from] TreeError),
    /// A failure of the kernel counter.
    #[error("cannot count the requests of a replica: {0}")]
    Counter(#[from] CounterError),
    /// No port is free, or its exit status cannot be read.
    #[error("cannot run a replica: {0}")]
    Io(#[from] io::Error),
}

/// Returns what would make the program start.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "COMMAND starts with a program in PATH or the path of one, and the interpreter of a script has to be there"
        }
        io::ErrorKind::PermissionDenied => "the program has to be an executable file",
        _ => "COMMAND starts with a program in PATH or the path of one",
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
