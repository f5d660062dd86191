//! Colours, fonts and marks. The colours are those of Okabe and Ito, which colour-blind readers can distinguish.

use plotters::{coord::Shift, prelude::*};

use super::PlotError;

/// Text and the desired pods.
pub(super) const INK: RGBColor = RGBColor(40, 44, 52);
/// Axes and grid.
pub(super) const FAINT: RGBColor = RGBColor(150, 156, 166);
/// The load.
pub(super) const LOAD: RGBColor = RGBColor(86, 180, 233);
/// The stable average.
pub(super) const STABLE: RGBColor = RGBColor(0, 158, 115);
/// The panic average.
pub(super) const PANIC: RGBColor = RGBColor(230, 159, 0);
/// The ready pods.
pub(super) const READY: RGBColor = RGBColor(0, 114, 178);
/// Panic mode.
pub(super) const ALARM: RGBColor = RGBColor(213, 94, 0);

/// Opacity of a fill.
pub(super) const FILL: f64 = 0.35;
/// Opacity of a shade, which lies under other marks.
pub(super) const SHADE: f64 = 0.14;

/// The area to draw on.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Text of `size` pixels.
pub(super) fn font(size: u32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour)
}

/// The form of a series in the legend.
pub(super) enum Mark {
    Fill,
    Line,
    Dashes,
    Shade,
}

impl Mark {
    /// Draws the mark, 24 pixels wide, from `x` to the right, centred on height `y`.
    pub(super) fn draw(
        &self,
        area: &Area<'_>,
        (x, y): (i32, i32),
        colour: RGBColor,
    ) -> Result<(), PlotError> {
        let line =
            |from, to| PathElement::new([(x + from, y), (x + to, y)], colour.stroke_width(2));
        let block =
            |share| Rectangle::new([(x, y - 6), (x + 24, y + 6)], colour.mix(share).filled());
        match self {
            Self::Fill => area.draw(&block(FILL))?,
            Self::Shade => area.draw(&block(SHADE))?,
            Self::Line => area.draw(&line(0, 24))?,
            Self::Dashes => {
                area.draw(&line(0, 9))?;
                area.draw(&line(15, 24))?;
            }
        }
        Ok(())
    }
}
