//! Colours, fonts and marks. The colours of the series are from the palette of Okabe and Ito, which colour-blind
//! readers can distinguish.

use plotters::{coord::Shift, prelude::*};

use super::PlotError;

/// Colour of text and of the desired pods.
pub(super) const INK: RGBColor = RGBColor(40, 44, 52);
/// Colour of axes and grid.
pub(super) const FAINT: RGBColor = RGBColor(150, 156, 166);
/// Colour of the scaling metric.
pub(super) const LOAD: RGBColor = RGBColor(86, 180, 233);
/// Colour of the stable average.
pub(super) const STABLE: RGBColor = RGBColor(0, 158, 115);
/// Colour of the panic average.
pub(super) const PANIC: RGBColor = RGBColor(230, 159, 0);
/// Colour of the ready pods.
pub(super) const READY: RGBColor = RGBColor(0, 114, 178);
/// Colour of panic mode.
pub(super) const ALARM: RGBColor = RGBColor(213, 94, 0);

/// Opacity of the filled area below a series.
pub(super) const FILL: f64 = 0.35;
/// Opacity of the shaded area that marks panic mode. It is drawn behind the series.
pub(super) const SHADE: f64 = 0.14;

/// The area to draw on.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Returns the text style for text of `size` pixels.
pub(super) fn font(size: u32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour)
}

/// The mark that represents a series in the legend.
pub(super) enum Mark {
    Fill,
    Line,
    Dashes,
    Shade,
}

impl Mark {
    /// Draws the mark, 24 pixels wide. `x` is its left edge, and `y` is its vertical centre.
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
