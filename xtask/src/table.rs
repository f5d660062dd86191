//! The style of tables: rules at the top, below the header and at the bottom; text left-aligned and numbers
//! right-aligned.

use comfy_table::{CellAlignment, LineStyle, Row, Table, TableStyle};

const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Builds a table of `rows`. The first `words` columns are text, the other columns are numbers.
pub(crate) fn table(
    header: impl Into<Row>,
    words: usize,
    rows: impl IntoIterator<Item: Into<Row>>,
) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header).add_rows(rows);
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
