//! Figures that tests measured, printed together at the end, so that a test that barely passes is visible.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use comfy_table::{LineStyle, Table, TableStyle};

const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Per title: the columns, and the rows by their first cell.
static TABLES: Mutex<Tables> = Mutex::new(BTreeMap::new());

type Tables = BTreeMap<&'static str, (Vec<String>, BTreeMap<String, Vec<String>>)>;

/// Records one line for the end of the test run.
pub fn note(line: impl Into<String>) {
    NOTES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(line.into());
}

/// Records a row of a table for the end of the test run. Rows are sorted by their first cells.
pub fn row(table: &'static str, columns: &[String], first: impl Into<String>, cells: Vec<String>) {
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, rows) = tables
        .entry(table)
        .or_insert_with(|| (columns.to_vec(), BTreeMap::new()));
    rows.insert(first.into(), cells);
}

pub(super) fn print() {
    let notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    if !notes.is_empty() {
        eprintln!("measured:");
        for line in notes.iter() {
            eprintln!("  {line}");
        }
    }
    let tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    for (title, (columns, rows)) in tables.iter() {
        let mut table = Table::new();
        table.load_style(STYLE).set_header(columns);
        for (first, cells) in rows {
            table.add_row(std::iter::once(first).chain(cells));
        }
        eprintln!("{title}:\n{table}");
    }
}
