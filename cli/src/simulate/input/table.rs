//! Reads CSV with named columns.
//!
//! If every field of the first row is a number, the file has no header, and the columns have their documented order.
//! Empty lines and lines that begin with `#` are skipped.

use csv::{ReaderBuilder, StringRecord, Trim};

use super::{Fault, InputError, Source};

/// The columns of one kind of input file, for example of traces.
pub(super) struct Columns {
    /// Required columns.
    pub(super) required: &'static [&'static str],
    /// Optional columns.
    pub(super) optional: &'static [&'static str],
}

impl Columns {
    fn all(&self) -> impl Iterator<Item = &'static str> {
        self.required.iter().chain(self.optional).copied()
    }

    /// Returns the columns in the form `t,concurrency[,rps]`.
    fn expected(&self) -> String {
        let optional: String = self
            .optional
            .iter()
            .map(|column| format!("[,{column}]"))
            .collect();
        self.required.join(",") + &optional
    }
}

/// One row, with access to its fields by column.
pub(super) struct Row<'a> {
    header: &'a [&'static str],
    record: &'a StringRecord,
}

impl Row<'_> {
    /// Returns the field of a column, or `None` if the file does not have the column.
    pub(super) fn get(&self, column: &str) -> Option<&str> {
        let at = self.header.iter().position(|name| *name == column)?;
        self.record.get(at)
    }

    /// Returns the field of a required column.
    pub(super) fn text(&self, column: &str) -> &str {
        self.get(column).unwrap_or_default()
    }
}

/// Reads the rows of `source` and passes each row to `read`, together with the results of the previous rows.
pub(super) fn read<T>(
    source: &Source,
    columns: &Columns,
    mut read: impl FnMut(&Row<'_>, &mut Vec<T>) -> Result<(), Fault>,
) -> Result<Vec<T>, InputError> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        // The reader accepts a wrong number of fields, so that the error below can name the expected number.
        .flexible(true)
        .trim(Trim::All)
        .comment(Some(b'#'))
        .from_reader(source.bytes.as_slice());
    let mut header: Option<Vec<&'static str>> = None;
    let (mut rows, mut row) = (Vec::new(), 0);
    let mut record = StringRecord::new();
    loop {
        let at = |row: usize, line, fault| InputError::Row {
            file: source.name.clone(),
            row,
            line,
            fault,
        };
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                let fault = Fault::Unreadable("not UTF-8 text".to_owned());
                return Err(at(row + 1, line, fault));
            }
        }
        let line = record.position().map_or(0, csv::Position::line);
        let header = match &header {
            Some(header) => header,
            None if record.iter().all(|field| field.parse::<f64>().is_ok()) => {
                let width = record.len().max(columns.required.len());
                header.insert(columns.all().take(width).collect())
            }
            None => {
                header = Some(names(source, columns, &record)?);
                continue;
            }
        };
        row += 1;
        if record.len() != header.len() {
            let fault = Fault::Width {
                found: record.len(),
                expected: header.len(),
            };
            return Err(at(row, line, fault));
        }
        let fields = Row {
            header,
            record: &record,
        };
        read(&fields, &mut rows).map_err(|fault| at(row, line, fault))?;
    }
    if rows.is_empty() {
        return Err(InputError::Empty {
            file: source.name.clone(),
            expected: columns.expected(),
        });
    }
    Ok(rows)
}

/// Returns the columns that the header `record` names.
fn names(
    source: &Source,
    columns: &Columns,
    record: &StringRecord,
) -> Result<Vec<&'static str>, InputError> {
    let error = |column: &str, what| InputError::Column {
        file: source.name.clone(),
        column: column.to_owned(),
        what,
        expected: columns.expected(),
    };
    let mut header = Vec::new();
    for name in record {
        let column = columns
            .all()
            .find(|column| *column == name)
            .ok_or_else(|| error(name, "is not known"))?;
        if header.contains(&column) {
            return Err(error(name, "appears twice"));
        }
        header.push(column);
    }
    match columns
        .required
        .iter()
        .find(|column| !header.contains(column))
    {
        Some(missing) => Err(error(missing, "is missing")),
        None => Ok(header),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns = Columns {
        required: &["t", "x"],
        optional: &["y"],
    };

    fn table(text: &str) -> Result<Vec<String>, String> {
        read(&Source::of(text), &COLUMNS, |row, rows| {
            rows.push(format!("{} {:?}", row.text("x"), row.get("y")));
            Ok(())
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn columns_go_by_name_or_by_place() {
        assert_eq!(table("x, t\n# why\n\n 5 ,0\r\n").unwrap(), ["5 None"]);
        assert_eq!(table("y,x,t\n7,5,0").unwrap(), ["5 Some(\"7\")"]);
        assert_eq!(table("0,5\n1,6\n").unwrap(), ["5 None", "6 None"]);
        assert_eq!(table("\u{feff}t,x\n0,5\n").unwrap(), ["5 None"]);
    }

    #[test]
    fn a_bad_header_names_the_column() {
        for (text, part) in [
            ("t,x,z\n0,1,2\n", "column \"z\" is not known"),
            ("t,y\n0,1\n", "column \"x\" is missing"),
            ("t,x,x\n0,1,2\n", "column \"x\" appears twice"),
            ("", "no rows; expected the columns t,x[,y]"),
            ("t,x\n", "no rows"),
        ] {
            let error = table(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_bad_row_is_named_by_number_and_line() {
        let error = table("# why\nt,x\n0,1\n1\n").unwrap_err();
        assert_eq!(error, "test.csv: row 2 (line 4): 1 fields, expected 2");
        let error = table("1,2,3,4\n").unwrap_err();
        assert_eq!(error, "test.csv: row 1 (line 1): 4 fields, expected 3");
    }
}
