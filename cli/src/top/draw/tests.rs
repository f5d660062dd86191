//! Returns the content of the terminal after the view has been drawn.

use std::time::{Duration, Instant as Clock};

use ebb_page_model::{CountedAt, Line, NotCounted, Point};
use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::top::{app::tests, keys::Key};

fn screen(app: &App, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let now = Instant::now();
    terminal.draw(|frame| draw(frame, app, now)).unwrap();
    terminal.backend().to_string()
}

fn detail() -> Detail {
    let point = |t| Point {
        t,
        concurrency: t as f32,
        stable: 5.0,
        ready: 2,
        ..Point::default()
    };
    let mut workload = tests::all(&["web"]).workloads.remove(0);
    workload.target = Some(7.0);
    workload.reason = Some("stable: 60 s average 5 needs 1 pod at target 7".to_owned());
    Detail {
        workload,
        decisions: vec![Line {
            at: 50.0,
            ready_replicas: Some(1),
            desired_replicas: Some(2),
            panic_mode: true,
            reason: "panic: 6 s average 14 needs 2 pods, 1 ready, threshold 2x".to_owned(),
        }],
        history: (0..100).map(point).collect(),
        ..Detail::default()
    }
}

#[test]
fn a_thousand_workloads_are_no_burden() {
    let names: Vec<_> = (0..1000).map(|number| format!("web-{number:04}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut app = tests::app(&names);
    app.key(Key::Last);
    let begun = Clock::now();
    let screen = screen(&app, (100, 30));
    assert!(begun.elapsed() < Duration::from_millis(500));
    assert!(
        screen.contains("1000 workloads, 2000 ready replicas"),
        "{screen}"
    );
    assert!(screen.contains("shop/web-0999") && !screen.contains("shop/web-0001"));
}

#[test]
fn one_is_shown_with_its_hour_and_why() {
    let mut app = tests::app(&["api", "web"]);
    app.key(Key::Enter);
    // A response about a workload that is not selected is ignored.
    app.shown(Some(detail()));
    assert!(app.detail.is_none());
    app.key(Key::Down);
    app.shown(Some(detail()));
    for size in [(120, 40), (80, 24), (40, 12), (10, 4)] {
        let screen = screen(&app, size);
        if size.0 >= 80 {
            assert!(screen.contains("49 s ago"), "{screen}");
            assert!(screen.contains("6 s average 14 needs 2 pods"), "{screen}");
            assert!(screen.contains("stable: 60 s average 5"), "{screen}");
        }
    }
}

#[test]
fn where_requests_are_counted_is_shown() {
    let mut detail = detail();
    detail.workload.counted_at = vec![CountedAt {
        text: "counted at the edge (istio)".to_owned(),
        advice: Some("name the application's port in ebb.dev/ports".to_owned()),
        ..CountedAt::default()
    }];
    detail.workload.not_counted = vec![NotCounted {
        pod: "web-1".to_owned(),
        why: "20 TCP ports".to_owned(),
    }];
    let mut app = tests::app(&["web"]);
    app.key(Key::Enter);
    app.shown(Some(detail));
    let screen = screen(&app, (80, 24));
    for part in [
        "counted at the edge (istio)",
        "name the application's port in ebb.dev/ports",
        "web-1 is not counted: 20 TCP ports",
        "6 s average 14 needs 2 pods",
    ] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let mut app = tests::app(&["web"]);
    app.set_trouble(&anyhow::anyhow!("connection refused"));
    let mut terminal = Terminal::new(TestBackend::new(100, 10)).unwrap();
    let later = Instant::now() + Duration::from_secs(10);
    terminal.draw(|frame| draw(frame, &app, later)).unwrap();
    let screen = terminal.backend().to_string();
    assert!(
        screen.contains("no answer for 10 s: connection refused"),
        "{screen}"
    );
}

#[test]
fn without_a_terminal_it_is_a_table() {
    let mut all = tests::all(&["web"]);
    all.workloads[0].ready_replicas = Some(1);
    let mut app = App::new(String::new());
    app.set_all(all, Instant::now());
    let text = text(&app);
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with("workload      ready  desired"),
        "{text}"
    );
    assert!(lines[1].starts_with("shop/web     1 of 2"), "{text}");
    assert_eq!(lines.len(), 2);
}
