//! The state of the view: the data and the selection. This module uses neither terminal nor network: it takes keys and
//! responses, and returns actions.

use std::time::Duration;

use ebb_page_model::{All, Detail, Name, Workload};
use tokio::time::Instant;

use super::keys::Key;

/// Number of rows by which PageUp and PageDown move the selection, whatever the height of the screen.
const PAGE: usize = 10;

/// The action that the program takes after a key was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    /// Request the data from the server again at once.
    Look,
    End,
}

/// The state of the view.
#[derive(Debug)]
pub(super) struct App {
    pub(super) address: String,
    all: Option<All>,
    last_response: Option<Instant>,
    /// The reason why the last request failed; `None` if it did not fail.
    pub(super) trouble: Option<String>,
    pub(super) filter: String,
    pub(super) typing: bool,
    /// The name of the selected workload. With a row number instead, the selection would change when rows move.
    chosen: Option<Name>,
    open: bool,
    pub(super) detail: Option<Detail>,
}

impl App {
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            all: None,
            last_response: None,
            trouble: None,
            filter: String::new(),
            typing: false,
            chosen: None,
            open: false,
            detail: None,
        }
    }

    /// Handles a response with all workloads.
    pub(super) fn set_all(&mut self, mut all: All, now: Instant) {
        // Order: workloads that need attention first, then workloads in panic mode; each group by name.
        all.workloads
            .sort_by_cached_key(|one| (!one.needs_attention(), !one.panic_mode, one.id()));
        self.all = Some(all);
        self.last_response = Some(now);
        self.trouble = None;
        if self.position().is_none() {
            self.choose(0);
        }
    }

    /// Handles the response about the open workload; `None` if no workload is open.
    pub(super) fn shown(&mut self, detail: Option<Detail>) {
        // Another workload may have been selected since the request.
        self.detail = detail.filter(|detail| self.opened() == Some(detail.workload.id()));
    }

    pub(super) fn set_trouble(&mut self, error: &anyhow::Error) {
        self.trouble = Some(format!("{error:#}"));
    }

    /// Returns the last response with all workloads.
    pub(super) fn all(&self) -> Option<&All> {
        self.all.as_ref()
    }

    /// Returns the time since the last response.
    pub(super) fn time_since_response(&self, now: Instant) -> Duration {
        let since = self
            .last_response
            .map(|at| now.saturating_duration_since(at));
        since.unwrap_or_default()
    }

    /// Returns the workloads that pass the filter, in order.
    pub(super) fn rows(&self) -> Vec<&Workload> {
        let all = self.all.iter().flat_map(|all| &all.workloads);
        let wanted = self.filter.to_lowercase();
        all.filter(|one| wanted.is_empty() || one.id().to_string().to_lowercase().contains(&wanted))
            .collect()
    }

    /// Returns the row of the selected workload.
    pub(super) fn position(&self) -> Option<usize> {
        let chosen = self.chosen.as_ref()?;
        self.rows().iter().position(|one| one.id() == *chosen)
    }

    /// Returns the name of the open workload.
    pub(super) fn opened(&self) -> Option<Name> {
        self.chosen.clone().filter(|_| self.open)
    }

    pub(super) fn key(&mut self, key: Key) -> Action {
        match key {
            Key::Break => return Action::End,
            Key::Letter(letter) if self.typing => self.filter.push(letter),
            Key::Erase if self.typing => drop(self.filter.pop()),
            Key::Enter if self.typing => self.typing = false,
            Key::Back if self.typing => {
                self.typing = false;
                self.filter.clear();
            }
            Key::Letter('q') => return Action::End,
            Key::Letter('/') => self.typing = true,
            Key::Up | Key::Letter('k') => return self.step(-1),
            Key::Down | Key::Letter('j') => return self.step(1),
            Key::PageUp => return self.step(-(PAGE as isize)),
            Key::PageDown => return self.step(PAGE as isize),
            Key::First => return self.step(isize::MIN),
            Key::Last => return self.step(isize::MAX),
            Key::Enter if self.chosen.is_some() => {
                self.open = true;
                return Action::Look;
            }
            Key::Back if self.open => {
                self.open = false;
                self.detail = None;
            }
            Key::Back => self.filter.clear(),
            Key::Enter | Key::Erase | Key::Letter(_) | Key::Resized => {}
        }
        if self.position().is_none() {
            self.choose(0);
        }
        Action::Nothing
    }

    fn step(&mut self, by: isize) -> Action {
        let here = self.position().unwrap_or(0);
        self.choose(here.saturating_add_signed(by));
        self.detail = None;
        match self.open {
            true => Action::Look,
            false => Action::Nothing,
        }
    }

    /// Selects row number `row`, or the last row if there are fewer rows.
    fn choose(&mut self, row: usize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        self.chosen = rows.get(row.min(last)).map(|one| one.id());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use ebb_page_model::About;

    use super::*;

    pub(in crate::top) fn all(names: &[&str]) -> All {
        let workloads = names.iter().map(|name| Workload {
            namespace: "shop".to_owned(),
            kind: "Deployment".to_owned(),
            group: "apps".to_owned(),
            name: (*name).to_owned(),
            mode: "act".into(),
            requested_replicas: 2,
            ready_replicas: Some(2),
            ..Workload::default()
        });
        All {
            about: About {
                program: "ebb-autoscaler".into(),
                version: "0.1.0".into(),
                replica: "first".to_owned(),
                leading: true,
            },
            workloads: workloads.collect(),
            next: None,
        }
    }

    pub(in crate::top) fn app(names: &[&str]) -> App {
        let mut app = App::new("http://x".to_owned());
        app.set_all(all(names), Instant::now());
        app
    }

    fn chosen(app: &App) -> &str {
        &app.chosen.as_ref().unwrap().name
    }

    #[test]
    fn those_that_need_somebody_come_first_and_the_choice_stays() {
        let mut app = app(&["c", "a", "b"]);
        assert_eq!(chosen(&app), "a");
        app.key(Key::Down);
        assert_eq!(chosen(&app), "b");
        let mut later = all(&["a", "b", "c"]);
        later.workloads[2].pods_without_metrics = 1;
        app.set_all(later, Instant::now());
        assert_eq!(app.rows()[0].name, "c");
        assert_eq!((chosen(&app), app.position()), ("b", Some(2)));
        app.set_all(all(&["a"]), Instant::now());
        assert_eq!(chosen(&app), "a");
    }

    #[test]
    fn keys_do_what_they_say() {
        let mut app = app(&["api", "web", "worker"]);
        assert_eq!(app.key(Key::Last), Action::Nothing);
        assert_eq!(chosen(&app), "worker");
        app.key(Key::PageDown);
        assert_eq!(chosen(&app), "worker");
        app.key(Key::First);
        assert_eq!(chosen(&app), "api");
        assert_eq!(app.key(Key::Enter), Action::Look);
        assert_eq!(app.opened().unwrap().name, "api");
        assert_eq!(app.key(Key::Down), Action::Look);
        app.key(Key::Back);
        assert_eq!(app.opened(), None);
        assert_eq!(app.key(Key::Letter('q')), Action::End);
        assert_eq!(app.key(Key::Break), Action::End);
    }

    #[test]
    fn a_filter_is_typed_and_cleared() {
        let mut app = app(&["api", "web", "worker"]);
        for key in [Key::Letter('/'), Key::Letter('W'), Key::Letter('o')] {
            app.key(key);
        }
        assert_eq!((app.rows().len(), chosen(&app)), (1, "worker"));
        // While the filter is typed, a letter is no command.
        assert_eq!(app.key(Key::Letter('q')), Action::Nothing);
        assert_eq!(app.rows().len(), 0);
        app.key(Key::Erase);
        app.key(Key::Enter);
        assert_eq!(app.rows().len(), 1);
        app.key(Key::Back);
        assert_eq!(app.rows().len(), 3);
    }
}
