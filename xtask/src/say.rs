//! Progress messages of the tasks, on stderr, so that stdout has results only.

use std::{io::IsTerminal as _, time::Duration};

/// Reports the start of a task that may take a while.
pub(crate) fn begin(what: &str) {
    eprintln!("{} {what}", paint("1;36", "▸"));
}

/// Reports success and the time taken.
pub(crate) fn done(what: &str, took: Duration) {
    eprintln!("{} {what} ({})", paint("1;32", "✓"), duration(took));
}

/// Reports a failure.
pub(crate) fn failed(what: &str) {
    eprintln!("{} {what}", paint("1;31", "✗"));
}

/// Reports additional information.
pub(crate) fn note(what: &str) {
    eprintln!("  {what}");
}

/// Formats a duration: `0.3 s`, `12 s`, `2 min 05 s`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else if seconds < 60.0 {
        format!("{seconds:.0} s")
    } else {
        let whole = time.as_secs();
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

/// Returns whether stderr is a terminal.
pub(crate) fn on_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Wraps `text` in an SGR code of ECMA-48 if stderr is a terminal.
fn paint(code: &str, text: &str) -> String {
    if on_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        let say = |seconds| duration(Duration::from_secs_f64(seconds));
        assert_eq!(say(0.26), "0.3 s");
        assert_eq!(say(12.4), "12 s");
        assert_eq!(say(125.0), "2 min 05 s");
    }
}
