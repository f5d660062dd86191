//! Draws the two panels of one replay.

use plotters::{
    chart::{ChartContext, LabelAreaPosition},
    coord::types::RangedCoordf64,
    prelude::*,
};

use super::{
    PlotError, WIDTH,
    axis::Time,
    series::{Point, steps, thin},
    style::{self, Area, font},
};
use crate::simulate::{input::Trace, line::Line, replay::Replay};

/// Height of both panels in pixels.
pub(super) const HEIGHT: u32 = 480;
/// Height of the panel of the pods in pixels.
const PODS: u32 = 200;
/// Space for the labels of an axis, in pixels.
const LABELS: u32 = 62;
/// Width of the margin to the left and to the right of a panel, in pixels.
const MARGIN: u32 = 24;
/// Width of a panel in pixels. One column is one pixel wide.
const COLUMNS: u32 = WIDTH - LABELS - 2 * MARGIN;

type Panel<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// One replay of a trace.
pub(super) struct Block<'a> {
    /// Name of the replay; empty if only one replay is drawn.
    pub(super) name: &'a str,
    pub(super) trace: &'a Trace,
    pub(super) run: &'a Replay,
    pub(super) time: &'a Time,
}

/// Returns the name of the unit of `metric`.
pub(super) fn unit(metric: &str) -> &'static str {
    match metric {
        "rps" => "requests per second",
        _ => "requests in flight",
    }
}

impl Block<'_> {
    /// Draws both panels.
    pub(super) fn draw(&self, area: &Area<'_>) -> Result<(), PlotError> {
        let (upper, lower) = area.split_vertically(HEIGHT - PODS);
        self.load(&upper)?;
        self.pods(&lower)
    }

    fn load(&self, area: &Area<'_>) -> Result<(), PlotError> {
        let metric = self.run.summary.settings.metric;
        let loads = self.seconds().zip(&self.trace.seconds).map(|(t, second)| {
            let load = match metric {
                "rps" => second.rps.unwrap_or(0.0),
                _ => second.concurrency,
            };
            (t, load)
        });
        let load = steps(loads, self.time.length);
        let stable = self.averages(|line| line.stable);
        let panic = self.averages(|line| line.panic);
        let all = [&load, &stable, &panic].into_iter().flatten();
        let top = all.map(|point| point.1).fold(0.0, f64::max) * 1.1;
        // An axis must have a length above zero.
        let top = if top > 0.0 { top } else { 1.0 };

        let mut panel = self.panel(area, top, 0)?;
        self.mesh(&mut panel, unit(metric), "", top)?;
        self.shade_panics(&mut panel, top)?;
        panel.draw_series(
            AreaSeries::new(self.thin(load), 0.0, style::LOAD.mix(style::FILL))
                .border_style(style::LOAD.stroke_width(1)),
        )?;
        for (points, colour) in [(panic, style::PANIC), (stable, style::STABLE)] {
            panel.draw_series(LineSeries::new(self.thin(points), colour.stroke_width(2)))?;
        }
        if !self.name.is_empty() {
            let at = (self.time.length * 0.005, top * 0.97);
            panel.draw_series([Text::new(self.name.to_owned(), at, font(16, style::INK))])?;
        }
        Ok(())
    }

    fn pods(&self, area: &Area<'_>) -> Result<(), PlotError> {
        let ready = self.seconds().zip(&self.run.ready);
        let ready = steps(
            ready.map(|(t, &pods)| (t, f64::from(pods))),
            self.time.length,
        );
        let desired = self.run.lines.iter().filter_map(|line| {
            let pods = line.want.or(line.desired)?;
            Some((self.time.at(line.t), f64::from(pods)))
        });
        let desired = steps(desired, self.time.length);
        let most = [&ready, &desired]
            .into_iter()
            .flatten()
            .map(|point| point.1)
            .fold(1.0, f64::max);
        let top = most * 1.12;

        let mut panel = self.panel(area, top, LABELS - MARGIN)?;
        self.mesh(&mut panel, "pods", self.time.unit, most)?;
        self.shade_panics(&mut panel, top)?;
        panel.draw_series(
            AreaSeries::new(self.thin(ready), 0.0, style::READY.mix(style::FILL))
                .border_style(style::READY.stroke_width(2)),
        )?;
        let desired = self.thin(desired);
        panel.draw_series(DashedLineSeries::new(
            desired,
            6,
            5,
            style::INK.stroke_width(2),
        ))?;
        Ok(())
    }

    /// Returns the position of the start of each second of the trace on the time axis.
    fn seconds(&self) -> impl Iterator<Item = f64> {
        let ends = self
            .trace
            .seconds
            .iter()
            .map(|second| self.time.at(second.t));
        std::iter::once(0.0).chain(ends)
    }

    fn averages(&self, average: fn(&Line) -> Option<f64>) -> Vec<Point> {
        let point = |line: &Line| Some((self.time.at(line.t), average(line)?));
        self.run.lines.iter().filter_map(point).collect()
    }

    fn thin(&self, points: Vec<Point>) -> Vec<Point> {
        thin(points, self.time.length, COLUMNS)
    }

    fn panel<'a, 'b>(
        &self,
        area: &Area<'b>,
        top: f64,
        x_labels: u32,
    ) -> Result<Panel<'a, 'b>, PlotError> {
        Ok(ChartBuilder::on(area)
            .margin_left(MARGIN)
            .margin_right(MARGIN)
            .margin_top(8)
            .set_label_area_size(LabelAreaPosition::Left, LABELS)
            .set_label_area_size(LabelAreaPosition::Bottom, x_labels)
            .build_cartesian_2d(0.0..self.time.length, 0.0..top)?)
    }

    fn mesh(
        &self,
        panel: &mut Panel<'_, '_>,
        y_name: &str,
        x_name: &str,
        most: f64,
    ) -> Result<(), PlotError> {
        // Labels have decimals only for values below 5 that are not numbers of pods.
        let decimals = if y_name == "pods" || most >= 5.0 {
            0
        } else {
            2
        };
        let labels = if y_name == "pods" {
            most.min(6.0) as usize + 1
        } else {
            8
        };
        panel
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(style::FAINT.mix(0.35))
            .light_line_style(TRANSPARENT)
            .axis_style(style::FAINT)
            .label_style(font(13, style::INK))
            .axis_desc_style(font(14, style::INK))
            .x_labels(14)
            .y_labels(labels)
            .x_label_formatter(&|x| format!("{x}"))
            .y_label_formatter(&|y| format!("{y:.decimals$}"))
            .x_desc(x_name)
            .y_desc(y_name)
            .draw()?;
        Ok(())
    }

    fn shade_panics(&self, panel: &mut Panel<'_, '_>, top: f64) -> Result<(), PlotError> {
        let shade = style::ALARM.mix(style::SHADE).filled();
        panel.draw_series(
            self.panics()
                .into_iter()
                .map(|(from, to)| Rectangle::new([(from, 0.0), (to, top)], shade)),
        )?;
        Ok(())
    }

    /// Returns the intervals of panic mode, as tuples (start, end) on the time axis.
    fn panics(&self) -> Vec<(f64, f64)> {
        let lines = &self.run.lines;
        lines
            .chunk_by(|a, b| a.panic_mode == b.panic_mode)
            .scan(0, |next, run| {
                *next += run.len();
                let end = lines
                    .get(*next)
                    .map_or(self.time.length, |line| self.time.at(line.t));
                Some((run, end))
            })
            .filter_map(|(run, end)| {
                let first = run.first().filter(|line| line.panic_mode)?;
                Some((self.time.at(first.t), end))
            })
            .collect()
    }
}
