//! Format of tables: a line above and below, a header line, text aligned to the left, and numbers aligned to the right.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Formats `rows` as a table whose first column contains text.
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

/// Formats the maximum of a value, and whether the value is within it: `≤ 5 ✓`.
pub(super) fn at_most(figure: f64, bound: f64) -> String {
    format!("≤ {bound} {}", mark(figure <= bound))
}

/// Formats the required minimum of `figure`, and whether `figure` reaches it: `≥ 3 ✓`.
pub(super) fn at_least(figure: f64, bound: f64) -> String {
    format!("≥ {bound} {}", mark(figure >= bound))
}

fn mark(kept: bool) -> char {
    if kept { '✓' } else { '✗' }
}
