//! Starts the process of a replica. The process enters its cgroup before it executes the program, and the kernel kills
//! the process when ebb dies.
//!
//! One thread, which lives as long as the run, starts all processes. PR_SET_PDEATHSIG refers to the *thread* that
//! forked, not to its process (prctl(2)): a replica started by a thread of a thread pool would be killed when this
//! thread ends.

use std::{fs::File, io, process::Stdio, sync::mpsc, thread};

use ebb_metrics::files::OpenFiles;
use nix::{
    errno::Errno,
    sys::{prctl, signal::Signal},
    unistd,
};
use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};

/// The command with its arguments, before `{port}` is replaced.
#[derive(Debug, Clone)]
pub(crate) struct CommandLine {
    program: String,
    arguments: Vec<String>,
}

impl CommandLine {
    /// Creates a command line from the words of the command. Returns `None` if there are no words.
    pub(crate) fn new(words: &[String]) -> Option<CommandLine> {
        let (program, arguments) = words.split_first()?;
        Some(CommandLine {
            program: program.clone(),
            arguments: arguments.to_vec(),
        })
    }

    /// Returns the first word of the command.
    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    /// Returns the command that starts a replica which listens on `port`.
    fn for_port(&self, port: u16) -> Command {
        let port = port.to_string();
        let fill = |word: &String| word.replace("{port}", &port);
        let mut command = Command::new(fill(&self.program));
        command
            .args(self.arguments.iter().map(fill))
            .env("PORT", &port)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // The replica gets its own process group, so Ctrl-C in the terminal reaches only ebb, and ebb stops the
            // replicas.
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// A request to start one process.
struct Job {
    command: Command,
    started: oneshot::Sender<io::Result<Child>>,
}

/// A handle to the thread that starts processes. The thread ends when the last handle is dropped and all requests are
/// done.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    jobs: mpsc::Sender<Job>,
    open_files: OpenFiles,
}

impl Spawner {
    /// Starts the thread. Must be called inside the runtime that will wait for the processes. `open_files` are the
    /// limits on open files that the processes get.
    pub(crate) fn start(open_files: OpenFiles) -> io::Result<Spawner> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let runtime = Handle::current();
        thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                let _entered = runtime.enter();
                for mut job in waiting {
                    // If the caller no longer waits, the child is dropped, which kills the process.
                    let _ = job.started.send(job.command.spawn());
                }
            })?;
        Ok(Spawner { jobs, open_files })
    }

    /// Starts the process of a replica that listens on `port`. The process enters its cgroup through `entrance`, an
    /// open `cgroup.procs` file.
    ///
    /// # Errors
    ///
    /// Returns the errors of `fork` and `execvp`. ENOENT and EACCES mean that the program was not found or cannot be
    /// executed.
    pub(crate) async fn spawn(
        &self,
        line: &CommandLine,
        port: u16,
        entrance: File,
    ) -> io::Result<Child> {
        let (started, child) = oneshot::channel();
        let command = prepare(line.for_port(port), entrance, self.open_files);
        let ended = |_| io::Error::other("the thread that starts processes has ended");
        self.jobs
            .send(Job { command, started })
            .map_err(|_| io::Error::other("the thread that starts processes has ended"))?;
        child.await.map_err(ended)?
    }
}

/// Adds the steps that the new process makes between fork and exec: it arranges that it gets SIGKILL when ebb dies,
/// enters its cgroup, and restores the limits on open files.
fn prepare(mut command: Command, entrance: File, open_files: OpenFiles) -> Command {
    let parent = unistd::getpid();
    let before_exec = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // If ebb died before `set_pdeathsig` took effect, no signal will end this process, so it ends itself.
        if unistd::getppid() != parent {
            return Err(Errno::ESRCH.into());
        }
        // "0" means the writing process itself, in any pid namespace.
        unistd::write(&entrance, b"0")?;
        open_files.restore()?;
        Ok(())
    };
    // SAFETY: between fork and exec of a process with threads, only async-signal-safe calls are allowed. `before_exec`
    // makes only plain system calls. Neither these nor their errors (bare errno values) allocate or lock.
    unsafe { command.pre_exec(before_exec) };
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_put_into_every_word_and_the_environment() {
        let words = ["serve", "--listen", "127.0.0.1:{port}", "{port}"].map(str::to_owned);
        let command = CommandLine::new(&words).unwrap().for_port(20_000);
        let arguments: Vec<_> = command.as_std().get_args().collect();
        assert_eq!(arguments, ["--listen", "127.0.0.1:20000", "20000"]);
        let environment: Vec<_> = command.as_std().get_envs().collect();
        assert_eq!(environment, [("PORT".as_ref(), Some("20000".as_ref()))]);
    }

    #[test]
    fn a_command_has_a_first_word() {
        assert!(CommandLine::new(&[]).is_none());
    }
}
