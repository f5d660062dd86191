//! A headless Chromium, controlled by its own protocol over a pipe (`--remote-debugging-pipe`): no driver program, no port.
//!
//! <https://chromedevtools.github.io/devtools-protocol/>: JSON messages, separated by a zero byte. The browser reads from
//! file descriptor 3 and writes to 4.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use serde_json::{Value, json};

use super::Process;
use super::wait::eventually;

/// Our file descriptors are duplicated to this number or above, so that 3 and 4 stay free for the browser.
const ABOVE: RawFd = 10;

/// A browser with one page. Dropping the value ends the browser.
pub struct Browser {
    to: File,
    from: BufReader<File>,
    session: String,
    last: u64,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Browser {
    /// Opens a page of this width and height, in pixels.
    ///
    /// # Panics
    /// If there is no Chromium, or Chromium does not answer.
    #[must_use]
    pub fn open(url: &str, (width, height): (u32, u32)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (its_in, to) = pipe();
        let (from, its_out) = pipe();
        let mut command = Command::new("chromium");
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args(["--disable-dev-shm-usage", "--disable-background-networking"])
            .args(["--remote-debugging-pipe", "--hide-scrollbars"])
            .arg(format!("--window-size={width},{height}"))
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .arg("about:blank")
            // The browser creates a folder there, and leaves the folder behind when it is killed.
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (reads, writes) = (its_in.as_raw_fd(), its_out.as_raw_fd());
        // SAFETY: dup2(2) is async-signal-safe; both descriptors are open until after the spawn.
        unsafe {
            command.pre_exec(move || {
                for (from, to) in [(reads, 3), (writes, 4)] {
                    if libc::dup2(from, to) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
        let process = Process::start(command, None);
        let mut this = Self {
            to: to.into(),
            from: BufReader::new(from.into()),
            session: String::new(),
            last: 0,
            _process: process,
            _folder: folder,
        };
        let page = this.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let session = this.call("Target.attachToTarget", &attach);
        session["sessionId"]
            .as_str()
            .expect("a session")
            .clone_into(&mut this.session);
        this.go(url);
        this
    }

    /// Navigates to another address.
    pub fn go(&mut self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
    }

    /// Sets the preferred colour scheme of pages: dark or light.
    pub fn dark(&mut self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call(
            "Emulation.setEmulatedMedia",
            &json!({"features": [feature]}),
        );
    }

    /// Resizes the page, in pixels.
    pub fn resize(&mut self, (width, height): (u32, u32)) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Evaluates an expression. A promise is awaited: the result is its value.
    ///
    /// # Panics
    /// If the expression throws.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let ask = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", &ask);
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{expression}: {}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].take()
    }

    /// Waits until an expression is truthy.
    ///
    /// # Panics
    /// If the condition is not true `within` this time.
    #[track_caller]
    pub fn await_true(&mut self, what: &str, within: Duration, expression: &str) {
        let guarded =
            format!("(() => {{ try {{ return !!({expression}); }} catch {{ return false; }} }})()");
        eventually(what, within, || (self.eval(&guarded) == true).then_some(()));
    }

    /// Presses a key, as `KeyboardEvent.key` names it.
    pub fn key(&mut self, key: &str) {
        let text = match key {
            "Enter" => "\r",
            key if key.len() == 1 => key,
            _ => "",
        };
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "ArrowDown" => 40,
            "ArrowUp" => 38,
            "ArrowLeft" => 37,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// The page as PNG, in base64.
    ///
    /// # Panics
    /// If the browser returns no picture.
    pub fn screenshot(&mut self) -> String {
        let picture = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        picture["data"].as_str().expect("a picture").to_owned()
    }

    /// The result of a command.
    #[track_caller]
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to
            .write_all(&bytes)
            .expect("the browser takes commands");
        loop {
            let mut answer = Vec::new();
            self.from
                .read_until(0, &mut answer)
                .expect("the browser answers");
            assert_eq!(answer.pop(), Some(0), "{method}: the browser has ended");
            let mut answer: Value = serde_json::from_slice(&answer).expect("JSON");
            // All other messages are events.
            if answer["id"] == self.last {
                assert!(
                    answer.get("error").is_none(),
                    "{method}: {}",
                    answer["error"]
                );
                return answer["result"].take();
            }
        }
    }
}

/// Creates a pipe: the end to read from, the end to write to.
fn pipe() -> (OwnedFd, OwnedFd) {
    let (reads, writes) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
    (above(&reads), above(&writes))
}

fn above(fd: &OwnedFd) -> OwnedFd {
    let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(ABOVE)).expect("a descriptor");
    // SAFETY: `fcntl` just created the descriptor, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(copy) }
}
