//! `ebb top` on a separate terminal. It reads keys even if the server does not answer, and restores the terminal
//! however it ends.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ebb_fixtures::run::SOON;
use ebb_fixtures::{Case, Process, Signal, ebb, eventually};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

pub(super) const CASES: &[Case] = &[
    Case::beside("top::the_terminal_is_given_back", &[], given_back),
    Case::beside("top::keys_are_read_while_nobody_answers", &[], keys),
    // This test does not run beside others: a program that another test starts at the same time would inherit the
    // terminal and keep it open.
    Case::new("top::a_terminal_may_be_closed", &[], closed),
    Case::beside("top::a_terminal_that_only_prints_is_printed_on", &[], dumb),
];

/// The time within which a key must take effect. It is shorter than the five seconds for which `ebb top` waits for a
/// response.
const BEFORE_THE_ANSWER: Duration = Duration::from_secs(4);
/// Terminal sequences that switch to the alternate screen (`ENTER`) and back (`LEAVE`).
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
const WORKLOADS: &str =
    r#"{"program": "a test", "version": "1", "replica": "a", "leading": true, "workloads": []}"#;

/// The key or the signal that ends `ebb top`.
#[derive(Debug)]
enum By {
    Key(&'static str),
    Signal(Signal),
}

fn given_back() {
    let server = Server::start();
    for by in [
        By::Key("q"),
        // Ctrl-C, which is an ordinary key in raw mode.
        By::Key("\x03"),
        By::Signal(Signal::SIGINT),
        By::Signal(Signal::SIGTERM),
        By::Signal(Signal::SIGHUP),
    ] {
        let mut top = Top::start(&server, "xterm");
        top.await_text("workloads");
        match by {
            By::Key(key) => top.press(key),
            By::Signal(signal) => top.process.signal(signal),
        }
        top.assert_gives_back(SOON, &format!("{by:?}"));
    }
}

fn keys() {
    let server = Server::start();
    let mut top = Top::start(&server, "xterm");
    top.await_text("workloads");
    server.silent.store(true, Ordering::Relaxed);
    let asked = server.asked.load(Ordering::Relaxed);
    eventually("it asks", SOON, || {
        (server.asked.load(Ordering::Relaxed) > asked).then_some(())
    });
    top.press("q");
    top.assert_gives_back(BEFORE_THE_ANSWER, "q");
}

fn dumb() {
    let server = Server::start();
    let mut top = Top::start(&server, "dumb");
    assert!(top.process.wait(SOON).success());
    top.await_text("workload  ");
    let text = top.text();
    assert!(!text.contains('\x1b'), "{text:?}");
}

/// The terminal's window is closed. `ebb top` can then not restore the terminal, and must not crash.
fn closed() {
    let server = Server::start();
    let (screen, terminal) = terminal();
    let mut process = start(&server, "xterm", &terminal);
    // The first request of `ebb top` comes before it changes the terminal's mode, so the test waits for the second.
    eventually("it looks again", SOON, || {
        (server.asked.load(Ordering::Relaxed) > 1).then_some(())
    });
    drop((screen, terminal));
    assert_eq!(process.wait(SOON).code(), Some(1));
}

/// A running `ebb top`, and both ends of its terminal.
struct Top {
    process: Process,
    screen: File,
    terminal: File,
    before: Termios,
    written: Arc<Mutex<Vec<u8>>>,
}

/// Creates a terminal. Returns the end that a user's window would have, and the end that programs use.
fn terminal() -> (File, File) {
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
    // A child process must not inherit either end: it would keep the terminal open.
    for end in [&master, &slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    (File::from(master), File::from(slave))
}

fn start(server: &Server, term: &str, terminal: &File) -> Process {
    let mut command = ebb::command(["top", &format!("http://{}", server.address)]);
    command
        .env("TERM", term)
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal.try_clone().unwrap());
    Process::start(command, None)
}

impl Top {
    fn start(server: &Server, term: &str) -> Self {
        let (screen, terminal) = terminal();
        let before = tcgetattr(&terminal).unwrap();
        let process = start(server, term, &terminal);
        let written = Arc::new(Mutex::new(Vec::new()));
        let (kept, mut reader) = (Arc::clone(&written), screen.try_clone().unwrap());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The read fails, and the thread ends, when no program has the terminal open any more.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                kept.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self {
            process,
            screen,
            terminal,
            before,
            written,
        }
    }

    fn press(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).unwrap();
    }

    /// Returns everything that was written to the terminal.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    #[track_caller]
    fn await_text(&self, wanted: &str) {
        eventually(wanted, SOON, || self.text().contains(wanted).then_some(()));
    }

    #[track_caller]
    fn assert_gives_back(&mut self, within: Duration, by: &str) {
        assert!(self.process.wait(within).success(), "{by}");
        assert_eq!(tcgetattr(&self.terminal).unwrap(), self.before, "{by}");
        eventually("the screen of before", SOON, || {
            let text = self.text();
            (text.rfind(LEAVE) > text.rfind(ENTER)).then_some(())
        });
    }
}

/// A server that reports no workloads, and stops answering once `silent` is set.
struct Server {
    address: SocketAddr,
    silent: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (silent, asked) = (Arc::default(), Arc::default());
        let server = Self {
            address,
            silent: Arc::clone(&silent),
            asked: Arc::clone(&asked),
        };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (silent, asked) = (Arc::clone(&silent), Arc::clone(&asked));
                thread::spawn(move || answer(BufReader::new(stream.unwrap()), &silent, &asked));
            }
        });
        server
    }
}

fn answer(mut stream: BufReader<TcpStream>, silent: &AtomicBool, asked: &AtomicUsize) {
    let mut line = String::new();
    while stream.read_line(&mut line).is_ok_and(|count| count > 0) {
        if line == "\r\n" {
            asked.fetch_add(1, Ordering::Relaxed);
            let length = WORKLOADS.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{WORKLOADS}");
            let said = silent.load(Ordering::Relaxed)
                || stream.get_mut().write_all(answer.as_bytes()).is_ok();
            if !said {
                return;
            }
        }
        line.clear();
    }
}
