//! The keys that the view uses.

use std::io;

use futures_util::StreamExt as _;
use ratatui::crossterm::event::{
    Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers,
};

/// A key press.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Enter,
    Back,
    Erase,
    Letter(char),
    /// Ctrl-C.
    Break,
    /// The size of the terminal has changed: everything is drawn again.
    Resized,
}

/// Waits for the next key that the view uses.
///
/// # Errors
/// Returns an error if the terminal is closed.
pub(super) async fn next(events: &mut EventStream) -> io::Result<Key> {
    while let Some(event) = events.next().await {
        match event? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                if let Some(key) = meaning(key) {
                    return Ok(key);
                }
            }
            Event::Resize(..) => return Ok(Key::Resized),
            _ => {}
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn meaning(key: KeyEvent) -> Option<Key> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if control => Key::Break,
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(letter) => Key::Letter(letter),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::First,
        KeyCode::End => Key::Last,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Back,
        KeyCode::Backspace => Key::Erase,
        _ => return None,
    })
}
