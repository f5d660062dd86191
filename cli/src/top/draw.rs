//! Draws the list and one workload on a terminal of any size.

use std::fmt::Write as _;

use ebb_page_model::{Detail, Point, Workload};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    symbols::Marker,
    text::{Line, Span},
    widgets::{
        Axis, Block, Cell, Chart, Dataset, GraphType, Paragraph, Row, Table, TableState, Wrap,
    },
};
use tokio::time::Instant;

use super::app::App;

/// After this time without a response, the heading shows the last error.
const QUIET_SECONDS: u64 = 3;
/// Colour of workloads above their capacity at target, or in panic mode.
const OVER: Color = Color::Yellow;
const BAD: Color = Color::Red;

const COLUMNS: [(&str, u16); 7] = [
    ("ready", 9),
    ("desired", 7),
    ("in flight", 9),
    ("queued", 6),
    ("used", 6),
    ("mode", 10),
    ("", 21),
];

/// Returns the list as lines of text, for output that is not a terminal.
pub(super) fn text(app: &App) -> String {
    let mut text = String::new();
    let rows = app.rows();
    let width = rows.iter().map(|one| label(one).len()).max().unwrap_or(0);
    // The result is ignored, because writing to a `String` does not fail.
    let _ = write!(text, "{:width$}", "workload");
    for (name, size) in COLUMNS {
        let _ = write!(text, "  {name:>size$}", size = size.into());
    }
    text.truncate(text.trim_end().len());
    for one in rows {
        let _ = write!(text, "\n{:width$}", label(one));
        for (cell, (_, size)) in cells(one).iter().zip(COLUMNS) {
            let _ = write!(text, "  {cell:>size$}", size = size.into());
        }
        text.truncate(text.trim_end().len());
    }
    text.push('\n');
    text
}

pub(super) fn draw(frame: &mut Frame<'_>, app: &App, now: Instant) {
    let (head, rest) = split(frame.area(), Constraint::Length(2), Constraint::Min(3));
    let (middle, foot) = split(rest, Constraint::Min(3), Constraint::Length(1));
    frame.render_widget(Paragraph::new(heading(app, now)), head);
    frame.render_widget(Paragraph::new(footing(app)), foot);
    match &app.detail {
        Some(detail) if middle.height >= 16 => {
            let (list, one) = split(middle, Constraint::Fill(1), Constraint::Fill(3));
            list_of(frame, app, list);
            detail_of(frame, detail, one);
        }
        Some(detail) => detail_of(frame, detail, middle),
        None => list_of(frame, app, middle),
    }
}

fn split(area: Rect, above: Constraint, below: Constraint) -> (Rect, Rect) {
    let [above, below] = Layout::vertical([above, below]).areas(area);
    (above, below)
}

fn heading(app: &App, now: Instant) -> Vec<Line<'static>> {
    let Some(all) = app.all() else {
        return vec![Line::from(app.address.clone())];
    };
    let about = &all.about;
    let sum = |of: fn(&Workload) -> u64| all.workloads.iter().map(of).sum::<u64>();
    let mut first = vec![Span::styled(
        format!("{} {}  {}", about.program, about.version, about.replica),
        Style::new().add_modifier(Modifier::BOLD),
    )];
    let quiet = app.time_since_response(now).as_secs();
    if let (Some(trouble), true) = (&app.trouble, quiet >= QUIET_SECONDS) {
        let text = format!("  no answer for {quiet} s: {trouble}");
        first.push(Span::styled(text, Style::new().fg(BAD)));
    } else if !about.leading {
        first.push(Span::raw("  standby"));
    }
    let second = format!(
        "{}, {}, {} in flight, {} in panic mode, {} need attention",
        counted(all.workloads.len() as u64, "workload"),
        counted(
            sum(|one| one.ready_replicas.unwrap_or(0).into()),
            "ready replica"
        ),
        sum(|one| one.in_flight + one.queued),
        sum(|one| one.panic_mode.into()),
        sum(|one| one.needs_attention().into()),
    );
    vec![Line::from(first), Line::from(second)]
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn footing(app: &App) -> Line<'static> {
    let faint = Style::new().add_modifier(Modifier::DIM);
    match (app.typing, &*app.filter) {
        (true, filter) => Line::from(format!("/{filter}_")),
        (false, "") => Line::styled(
            "up, down: choose  Enter: show  /: filter  Esc: back  q: end",
            faint,
        ),
        (false, filter) => Line::from(format!("filter: {filter:?}; Esc shows all workloads")),
    }
}

fn list_of(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let rows = app.rows();
    // Only visible rows are created, because there may be thousands of workloads.
    let room = usize::from(area.height.saturating_sub(1)).max(1);
    let here = app.position().unwrap_or(0);
    let from = here
        .saturating_sub(room / 2)
        .min(rows.len().saturating_sub(room));
    let seen = rows.iter().skip(from).take(room).map(|one| {
        let cells = cells(one).map(|text| Cell::from(Line::from(text).right_aligned()));
        let row = [Cell::from(label(one))].into_iter().chain(cells);
        Row::new(row).style(style(one))
    });
    let widths = COLUMNS.map(|(_, size)| Constraint::Length(size));
    let widths = [Constraint::Fill(1)].into_iter().chain(widths);
    let names = COLUMNS.map(|(name, _)| Cell::from(Line::from(name).right_aligned()));
    let names = [Cell::from("workload")].into_iter().chain(names);
    let table = Table::new(seen, widths)
        .header(Row::new(names).style(Style::new().add_modifier(Modifier::DIM)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let chosen = app.position().map(|position| position - from);
    let mut state = TableState::default().with_selected(chosen);
    frame.render_stateful_widget(table, area, &mut state);
}

fn label(one: &Workload) -> String {
    format!("{}/{}", one.namespace, one.name)
}

fn cells(one: &Workload) -> [String; COLUMNS.len()] {
    let number = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    let pods = match one.ready_replicas {
        Some(ready) if ready == one.requested_replicas => ready.to_string(),
        ready => format!("{} of {}", number(ready), one.requested_replicas),
    };
    let mut note = Vec::new();
    if one.panic_mode {
        note.push("panic".to_owned());
    }
    if one.pods_without_metrics > 0 {
        note.push(format!("{} without metrics", one.pods_without_metrics));
    }
    [
        pods,
        number(one.desired_replicas),
        one.in_flight.to_string(),
        one.queued.to_string(),
        utilization(one).map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0)),
        one.mode.to_string(),
        note.join(", "),
    ]
}

/// Returns the utilization of a workload: its average over the panic window, divided by its ready pods' capacity at
/// target.
fn utilization(one: &Workload) -> Option<f64> {
    let capacity = one.target? * f64::from(one.ready_replicas?);
    Some(one.panic? / capacity).filter(|share| share.is_finite())
}

fn style(one: &Workload) -> Style {
    if one.needs_attention() {
        Style::new().fg(BAD)
    } else if one.panic_mode || utilization(one).is_some_and(|share| share > 1.0) {
        Style::new().fg(OVER)
    } else {
        Style::new()
    }
}

fn detail_of(frame: &mut Frame<'_>, detail: &Detail, area: Rect) {
    let one = &detail.workload;
    let block = Block::bordered().title(format!(" {} ", label(one)));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let counted = counted_lines(one);
    let height = 2 + counted.len() as u16;
    let (head, rest) = split(inner, Constraint::Length(height), Constraint::Min(1));
    let why = one.not_scaled.as_ref().or(one.reason.as_ref());
    let mut lines = vec![Line::from(why.cloned().unwrap_or_default())];
    if !one.without_metrics.is_empty() {
        let text = format!(
            "not scaled down, because these pods have no current metrics: {}",
            one.without_metrics.join(", ")
        );
        lines.push(Line::styled(text, Style::new().fg(BAD)));
    } else if let Some(scaled) = &one.scaled {
        lines.push(Line::from(format!(
            "last scaled from {} to {}: {}",
            scaled.from, scaled.to, scaled.reason
        )));
    }
    // The last line of these two may be missing, and the next lines must not move when it appears.
    lines.resize(2, Line::default());
    lines.extend(counted);
    frame.render_widget(Paragraph::new(lines), head);
    let (chart, decisions) = split(rest, Constraint::Fill(2), Constraint::Fill(1));
    chart_of(frame, detail, chart);
    let end = detail.history.last().map_or(0.0, |point| point.t as f64);
    let lines: Vec<_> = detail
        .decisions
        .iter()
        .take(decisions.height.into())
        .map(|line| {
            let desired = line
                .desired_replicas
                .map_or("-".to_owned(), |pods| pods.to_string());
            let ago = (end - line.at).max(0.0);
            Line::from(format!(
                "{ago:>5.0} s ago  {desired:>4} desired  {}",
                line.reason
            ))
        })
        .collect();
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), decisions);
}

/// Returns where the pods of a workload are counted, what to do about it, and an example of a pod that is not counted.
/// Each is one line, because the terminal may be small; the page shows everything.
fn counted_lines(one: &Workload) -> Vec<Line<'static>> {
    let bad = |text: String| Line::styled(text, Style::new().fg(BAD));
    let mut lines = Vec::new();
    if !one.counted_at.is_empty() {
        let texts: Vec<_> = one.counted_at.iter().map(|at| at.text.as_str()).collect();
        lines.push(Line::from(texts.join("; ")));
    }
    let advice = one.counted_at.iter().find_map(|at| at.advice.clone());
    lines.extend(advice.map(bad));
    if let Some(not) = one.not_counted.first() {
        lines.push(bad(format!("{} is not counted: {}", not.pod, not.why)));
    }
    lines
}

fn chart_of(frame: &mut Frame<'_>, detail: &Detail, area: Rect) {
    let (Some(first), Some(last)) = (detail.history.first(), detail.history.last()) else {
        return;
    };
    let target = detail.workload.target.unwrap_or(0.0);
    let line = |of: &dyn Fn(&Point) -> f64| -> Vec<(f64, f64)> {
        let points = detail.history.iter();
        let ago = |point: &Point| -(last.t.saturating_sub(point.t) as f64);
        points
            .map(|point| (ago(point), of(point).max(0.0)))
            .collect()
    };
    let capacity = line(&|point| f64::from(point.ready) * target);
    let concurrency = line(&|point| f64::from(point.concurrency));
    let stable = line(&|point| f64::from(point.stable));
    let most = [&capacity, &concurrency, &stable].into_iter().flatten();
    let most = most.map(|(_, value)| *value).fold(1.0, f64::max);
    let span = last.t.saturating_sub(first.t).max(60) as f64;
    let set = |name: &'static str, colour, data| {
        Dataset::default()
            .name(name)
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(Style::new().fg(colour))
            .data(data)
    };
    let chart = Chart::new(vec![
        set("capacity at target", Color::DarkGray, &capacity),
        set("stable window", Color::Magenta, &stable),
        set("in flight", Color::Cyan, &concurrency),
    ])
    .x_axis(
        Axis::default()
            .bounds([-span, 0.0])
            .labels([format!("{:.0} min ago", span / 60.0), "now".to_owned()]),
    )
    .y_axis(
        Axis::default()
            .bounds([0.0, most])
            .labels(["0".to_owned(), format!("{most:.0}")]),
    );
    frame.render_widget(chart, area);
}

#[cfg(test)]
mod tests;
