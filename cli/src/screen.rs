//! Detects whether stdout is a terminal that can show a live view.

use std::{
    env,
    ffi::OsStr,
    io::{self, IsTerminal as _},
};

/// Returns whether stdout is a terminal that can show a live view. Terminals with `TERM=dumb` (the shell of an editor,
/// some CI systems) cannot.
pub(crate) fn is_there() -> bool {
    io::stdout().is_terminal() && draws(env::var_os("TERM").as_deref())
}

fn draws(term: Option<&OsStr>) -> bool {
    term != Some(OsStr::new("dumb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dumb_terminal_is_printed_on() {
        assert!(draws(Some("xterm".as_ref())));
        assert!(draws(None));
        assert!(!draws(Some("dumb".as_ref())));
    }
}
