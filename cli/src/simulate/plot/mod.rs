//! Draws replays as a picture, in SVG or as a PNG with the same content.
//!
//! Each replay has one block, and all blocks share one time axis. The upper panel of a block shows the scaling metric
//! and its averages over the stable and the panic window; the lower panel shows the ready and the desired pods. Panic
//! mode is shaded in both panels.

mod axis;
mod block;
#[cfg(feature = "png")]
mod png;
mod series;
mod style;

use std::{fs, io, path::Path};

use plotters::{drawing::DrawingAreaErrorKind, prelude::*};

use self::{axis::Time, block::Block, style::Area};
use super::{input::Trace, replay::Replay};

/// Width in pixels: twice the width of a column of the README, where the picture is shown at half size.
const WIDTH: u32 = 1200;
/// Height of the legend in pixels.
const LEGEND: u32 = 40;

/// The reason why the picture of the replays was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlotError {
    /// Drawing failed.
    #[error(transparent)]
    Draw(#[from] DrawingAreaErrorKind<io::Error>),
    /// The conversion to PNG failed.
    #[cfg(feature = "png")]
    #[error(transparent)]
    Png(#[from] png::PngError),
    /// This build does not support PNG.
    #[cfg(not(feature = "png"))]
    #[error("this ebb was built without PNG; name a file that ends in .svg")]
    NoPng,
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Draws the replays `runs` of `trace` and writes the picture to `file`. The extension of `file` (.svg or .png) selects
/// the format.
pub(super) fn write(file: &Path, trace: &Trace, runs: &[&Replay]) -> Result<(), PlotError> {
    let svg = draw(trace, runs)?;
    let png = file.extension().is_some_and(|extension| extension == "png");
    let bytes = if png {
        rendered(&svg)?
    } else {
        svg.into_bytes()
    };
    Ok(fs::write(file, bytes)?)
}

#[cfg(feature = "png")]
fn rendered(svg: &str) -> Result<Vec<u8>, PlotError> {
    Ok(png::render(svg)?)
}

#[cfg(not(feature = "png"))]
fn rendered(_svg: &str) -> Result<Vec<u8>, PlotError> {
    Err(PlotError::NoPng)
}

fn draw(trace: &Trace, runs: &[&Replay]) -> Result<String, PlotError> {
    let mut svg = String::new();
    let blocks = u32::try_from(runs.len()).unwrap_or(1);
    let root = SVGBackend::with_string(&mut svg, (WIDTH, LEGEND + blocks * block::HEIGHT))
        .into_drawing_area();
    root.fill(&WHITE)?;
    let (top, rest) = root.split_vertically(LEGEND);
    let metric = runs.first().map_or("", |run| run.summary.settings.metric);
    legend(&top, metric)?;
    let time = Time::of(trace);
    let names: &[&str] = if runs.len() > 1 {
        &["first", "second"]
    } else {
        &[""]
    };
    for ((area, run), name) in rest
        .split_evenly((runs.len(), 1))
        .iter()
        .zip(runs)
        .zip(names)
    {
        Block {
            name,
            trace,
            run,
            time: &time,
        }
        .draw(area)?;
    }
    root.present()?;
    drop((top, rest, root));
    // A text file ends with a line feed, which the SVG backend does not write.
    svg.push('\n');
    Ok(svg)
}

fn legend(area: &Area<'_>, metric: &str) -> Result<(), PlotError> {
    // Width of a letter in the legend, in pixels. It is larger than in most fonts, because the viewer of the SVG may
    // use a wide font.
    const LETTER: i32 = 8;
    let load = block::unit(metric);
    let entries = [
        (load, style::LOAD, style::Mark::Fill),
        ("stable average", style::STABLE, style::Mark::Line),
        ("panic average", style::PANIC, style::Mark::Line),
        ("pods ready", style::READY, style::Mark::Fill),
        ("pods desired", style::INK, style::Mark::Dashes),
        ("panic mode", style::ALARM, style::Mark::Shade),
    ];
    let mut x = 62;
    for (name, colour, mark) in entries {
        mark.draw(area, (x, 22), colour)?;
        area.draw_text(name, &style::font(14, style::INK), (x + 30, 15))?;
        x += 30 + LETTER * i32::try_from(name.len()).unwrap_or(0) + 24;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
