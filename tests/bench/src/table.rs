//! Table format: two rules and a header line, text left-aligned and figures right-aligned.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Formats `rows` as a table whose first column is text.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header).add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The bound of a figure, and whether the figure keeps it: `≤ 5 ✓`.
pub(super) fn at_most(figure: f64, bound: f64) -> String {
    format!("≤ {bound} {}", mark(figure <= bound))
}

/// A lower bound, in the same form.
pub(super) fn at_least(figure: f64, bound: f64) -> String {
    format!("≥ {bound} {}", mark(figure >= bound))
}

fn mark(kept: bool) -> char {
    if kept { '✓' } else { '✗' }
}
