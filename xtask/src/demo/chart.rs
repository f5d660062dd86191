//! Draws the demo as two charts for a terminal: the concurrency, and below it the ready replicas.

use std::fmt;

use textplots::{
    AxisBuilder as _, Chart as Plot, LabelBuilder as _, LabelFormat, LineStyle, Plot as _, Shape,
    TickDisplay, TickDisplayBuilder as _,
};

use super::{steps, timeline::Timeline};

/// The charts of the concurrency and of the replicas, one above the other on the same time axis.
pub(super) struct Chart<'a>(pub(super) &'a Timeline);

/// Width in braille dots, two per column: 70 columns, or 80 columns with the labels.
const WIDTH: u32 = 140;

/// Height of the chart of the concurrency in braille dots, four per line of text: ten lines.
const LOAD_HEIGHT: u32 = 40;
/// Height of the chart of the replicas in braille dots, four per line of text: six lines.
const COPIES_HEIGHT: u32 = 24;

impl fmt::Display for Chart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "requests in flight, mean between decisions")?;
        self.plot(
            f,
            LOAD_HEIGHT,
            TickDisplay::Sparse,
            &steps::concurrency(self.0),
        )?;
        writeln!(f, "ready replicas")?;
        // The axis has no ticks between 0 and the maximum, because they would be at fractions of a replica.
        self.plot(f, COPIES_HEIGHT, TickDisplay::None, &steps::ready(self.0))
    }
}

impl Chart<'_> {
    fn plot(
        &self,
        f: &mut fmt::Formatter<'_>,
        height: u32,
        ticks: TickDisplay,
        corners: &[(f64, f64)],
    ) -> fmt::Result {
        let corners: Vec<_> = corners
            .iter()
            .map(|(t, y)| (*t as f32, *y as f32))
            .collect();
        // The axis needs a length above zero: textplots divides by it.
        let end = (self.0.end() as f32).max(1.0);
        let top = corners.iter().map(|(_, y)| *y).fold(1.0, f32::max);
        let line = Shape::Lines(&corners);
        let mut chart = Plot::new_with_y_range(WIDTH, height, 0.0, end, 0.0, top);
        let chart = chart
            .lineplot(&line)
            .x_axis_style(LineStyle::Solid)
            .y_axis_style(LineStyle::Solid)
            .y_tick_display(ticks)
            .x_label_format(LabelFormat::Custom(Box::new(|x| format!("{x:.0} s"))))
            .y_label_format(LabelFormat::Custom(Box::new(|y| format!("{y:.0}"))));
        chart.axis();
        chart.figures();
        write!(f, "{chart}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::sample;

    #[test]
    fn it_is_labelled_with_the_extremes() {
        let text = Chart(&sample::played().timeline).to_string();
        println!("{text}");
        assert!(text.contains("48") && text.contains("68 s"), "{text}");
    }

    #[test]
    fn nothing_seen_is_an_empty_chart() {
        assert!(
            Chart(&Timeline::default())
                .to_string()
                .contains("ready replicas")
        );
    }
}
