//! Whether stdout is a terminal that can show a live view.

use std::{
    env,
    ffi::OsStr,
    io::{self, IsTerminal as _},
};

/// Returns true for a terminal, unless it says that it only prints (`TERM=dumb`: an editor's shell, some CI systems).
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
