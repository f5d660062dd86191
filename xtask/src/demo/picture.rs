//! Draws the demo as a picture, `timeline.svg`.
//!
//! Two panels share one time axis. The upper panel shows the concurrency that the kernel counted, and its stable and
//! panic averages; the lower panel shows the ready and the desired replicas. Panic mode is shaded in both panels. The
//! colours of the series are from the palette of Okabe and Ito, which colour-blind readers can distinguish.

use std::path::Path;

use anyhow::{Context as _, Result};
use plotters::{
    chart::{ChartContext, LabelAreaPosition},
    coord::{Shift, types::RangedCoordf64},
    element::DashedPathElement,
    prelude::*,
};

use super::{event::Decision, script::Played, steps, timeline::Timeline};

/// Size (width, height) in pixels: twice the width of a column of the README, where the picture is shown at half size.
const SIZE: (u32, u32) = (1200, 680);
/// Height of the title and the legend, in pixels.
const HEADER: u32 = 76;
/// Height of the panel of the replicas, in pixels.
const LOWER: u32 = 200;
/// Space in pixels for the labels of the axes.
const LABELS: u32 = 62;

const INK: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(150, 156, 166);
const BLUE: RGBColor = RGBColor(0, 114, 178);
const SKY: RGBColor = RGBColor(86, 180, 233);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const ORANGE: RGBColor = RGBColor(230, 159, 0);
const RED: RGBColor = RGBColor(213, 94, 0);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Panel<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws the picture.
pub(super) fn draw(path: &Path, played: &Played) -> Result<()> {
    let paint = || -> Result<()> {
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (header, panels) = root.split_vertically(HEADER);
        let (upper, lower) = panels.split_vertically(SIZE.1 - HEADER - LOWER);
        draw_header(&header)?;
        draw_load(&upper, &played.timeline)?;
        draw_replicas(&lower, &played.timeline)?;
        root.present()?;
        Ok(())
    };
    paint().with_context(|| format!("cannot draw {}", path.display()))
}

fn font(size: u32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour)
}

fn draw_header(area: &Area<'_>) -> Result<()> {
    let left = i32::try_from(LABELS)?;
    area.draw_text(
        "Ebb scales a service 0 → 1 → N → 0 on the requests in flight that the kernel counts",
        &font(22, INK),
        (left, 14),
    )?;
    // Width of a letter in the legend, in pixels. It is larger than in most fonts, because the viewer of the SVG may
    // use a wide font.
    const LETTER: i32 = 7;
    let entries: [(&str, RGBColor, Mark); 7] = [
        ("requests in flight", SKY, Mark::Fill),
        ("clients", FAINT, Mark::Dashes),
        ("stable average", GREEN, Mark::Line),
        ("panic average", ORANGE, Mark::Line),
        ("panic mode", RED, Mark::Shade),
        ("ready replicas", BLUE, Mark::Fill),
        ("desired replicas", INK, Mark::Dashes),
    ];
    let mut x = left;
    for (name, colour, mark) in entries {
        mark.draw(area, x, 58, colour)?;
        area.draw_text(name, &font(14, INK), (x + 30, 51))?;
        x += 30 + LETTER * i32::try_from(name.len())? + 26;
    }
    Ok(())
}

/// The mark that represents a series in the legend.
enum Mark {
    Fill,
    Line,
    Dashes,
    Shade,
}

impl Mark {
    fn draw(&self, area: &Area<'_>, x: i32, y: i32, colour: RGBColor) -> Result<()> {
        let line =
            |from, to| PathElement::new([(x + from, y), (x + to, y)], colour.stroke_width(2));
        match self {
            Self::Fill => area.draw(&Rectangle::new(
                [(x, y - 6), (x + 24, y + 6)],
                colour.mix(0.55).filled(),
            ))?,
            Self::Shade => area.draw(&Rectangle::new(
                [(x, y - 6), (x + 24, y + 6)],
                colour.mix(0.14).filled(),
            ))?,
            Self::Line => area.draw(&line(0, 24))?,
            Self::Dashes => {
                area.draw(&line(0, 9))?;
                area.draw(&line(15, 24))?;
            }
        }
        Ok(())
    }
}

fn draw_load(area: &Area<'_>, timeline: &Timeline) -> Result<()> {
    let values = timeline.decisions.iter().flat_map(|decision| {
        [Some(decision.concurrency), decision.stable, decision.panic]
            .into_iter()
            .flatten()
    });
    let clients = timeline.spans.iter().map(|span| span.clients as f64);
    // The axis is a quarter longer than the highest value, to leave space for the names of the phases.
    let top = values.chain(clients).fold(4.0, f64::max) * 1.25;
    let mut panel = panel(area, timeline, top, 0)?;
    mesh(&mut panel, "requests in flight", "", 8)?;
    shade_panics(&mut panel, timeline, top)?;
    name_phases(&mut panel, timeline, top)?;

    // The mean concurrency of a decision is drawn over the interval between the previous decision and this decision.
    panel.draw_series(
        AreaSeries::new(steps::concurrency(timeline), 0.0, SKY.mix(0.3))
            .border_style(SKY.stroke_width(1)),
    )?;
    let clients = timeline.spans.iter().flat_map(|span| {
        [
            (span.from, span.clients as f64),
            (span.to, span.clients as f64),
        ]
    });
    panel.draw_series(DashedLineSeries::new(clients, 6, 5, FAINT.stroke_width(2)))?;
    for (value, colour) in [
        (Decision::stable as fn(&Decision) -> Option<f64>, GREEN),
        (Decision::panic, ORANGE),
    ] {
        let points = timeline
            .decisions
            .iter()
            .filter_map(|decision| Some((decision.t, value(decision)?)));
        panel.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
    }
    Ok(())
}

fn draw_replicas(area: &Area<'_>, timeline: &Timeline) -> Result<()> {
    let most = timeline
        .decisions
        .iter()
        .map(|decision| decision.ready.max(decision.desired))
        .max();
    let top = f64::from(most.unwrap_or(0).max(1)) + 0.6;
    let mut panel = panel(area, timeline, top, LABELS - 18)?;
    mesh(
        &mut panel,
        "replicas",
        "seconds since the start of ebb run",
        most.unwrap_or(1).min(6) as usize + 1,
    )?;
    shade_panics(&mut panel, timeline, top)?;
    panel.draw_series(
        AreaSeries::new(steps::ready(timeline), 0.0, BLUE.mix(0.45))
            .border_style(BLUE.stroke_width(2)),
    )?;
    panel.draw_series(DashedLineSeries::new(
        steps::wanted(timeline),
        6,
        5,
        INK.stroke_width(2),
    ))?;
    Ok(())
}

fn panel<'a, 'b>(
    area: &Area<'b>,
    timeline: &Timeline,
    top: f64,
    x_labels: u32,
) -> Result<Panel<'a, 'b>> {
    let end = timeline.end().max(1.0);
    let panel = ChartBuilder::on(area)
        .margin_left(14)
        .margin_right(24)
        .margin_top(8)
        .set_label_area_size(LabelAreaPosition::Left, LABELS)
        .set_label_area_size(LabelAreaPosition::Bottom, x_labels)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    Ok(panel)
}

fn mesh(panel: &mut Panel<'_, '_>, y_name: &str, x_name: &str, y_labels: usize) -> Result<()> {
    panel
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(FAINT.mix(0.35))
        .light_line_style(TRANSPARENT)
        .axis_style(FAINT)
        .label_style(font(13, INK))
        .axis_desc_style(font(14, INK))
        .x_labels(14)
        .y_labels(y_labels)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .x_desc(x_name)
        .y_desc(y_name)
        .draw()?;
    Ok(())
}

fn shade_panics(panel: &mut Panel<'_, '_>, timeline: &Timeline, top: f64) -> Result<()> {
    let shade = RED.mix(0.14).filled();
    panel.draw_series(
        timeline
            .panics()
            .into_iter()
            .map(|(from, to)| Rectangle::new([(from, 0.0), (to, top)], shade)),
    )?;
    Ok(())
}

/// Draws a line at the start of each phase, with its name; every second name is lower, so that the names of short
/// phases do not overlap.
fn name_phases(panel: &mut Panel<'_, '_>, timeline: &Timeline, top: f64) -> Result<()> {
    let begins = timeline.spans.iter().skip(1).map(|span| {
        DashedPathElement::new(
            [(span.from, 0.0), (span.from, top)],
            2,
            4,
            FAINT.stroke_width(1),
        )
    });
    panel.draw_series(begins)?;
    let gap = timeline.end() * 0.004;
    let names = timeline.spans.iter().enumerate().map(|(number, span)| {
        let height = if number % 2 == 0 { 0.99 } else { 0.935 };
        Text::new(span.name, (span.from + gap, top * height), font(13, INK))
    });
    panel.draw_series(names)?;
    Ok(())
}

impl Decision {
    fn stable(&self) -> Option<f64> {
        self.stable
    }

    fn panic(&self) -> Option<f64> {
        self.panic
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::sample;

    #[test]
    fn the_picture_names_its_series_and_phases() {
        let path = std::env::temp_dir().join(format!("ebb-picture-{}.svg", std::process::id()));
        draw(&path, &sample::played()).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        // The picture is kept if EBB_KEEP_PICTURE is set.
        if std::env::var_os("EBB_KEEP_PICTURE").is_none() {
            std::fs::remove_file(&path).unwrap();
        }
        for word in [
            "stable average",
            "desired replicas",
            "second wave",
            "requests in flight",
        ] {
            assert!(svg.contains(word), "{word}");
        }
    }
}
