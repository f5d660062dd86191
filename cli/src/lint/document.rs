//! Reads the documents of a YAML file. JSON files can be read too, because JSON is a subset of YAML.
//!
//! Failure mode: the documents after a syntax error cannot be read; the documents before the error are checked
//! nevertheless.

use std::fmt;

use serde_json::Value;

/// A document that is not valid YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// Line and column, counted from 1, if known.
    at: Option<(u64, u64)>,
    reason: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.at {
            write!(f, "line {line} column {column}: ")?;
        }
        write!(f, "cannot be read as YAML: {}", self.reason)
    }
}

/// Returns the documents of a file that are not empty, and the documents that could not be read.
pub(super) fn read(bytes: &[u8]) -> (Vec<Value>, Vec<Unreadable>) {
    let (mut documents, mut unreadable) = (Vec::new(), Vec::new());
    let mut reader = bytes;
    for document in serde_saphyr::read(&mut reader) {
        match document {
            Ok(Value::Null) => {}
            Ok(document) => documents.push(document),
            Err(error) => unreadable.push(reason(&error)),
        }
    }
    (documents, unreadable)
}

fn reason(error: &serde_saphyr::Error) -> Unreadable {
    let error = error.without_snippet();
    let location = error.location();
    let reason = match error {
        // Ebb's own message, because the message of the YAML library is meant for programmers.
        serde_saphyr::Error::DuplicateMappingKey { key, .. } => {
            format!("key {:?} appears twice", key.as_deref().unwrap_or("?"))
        }
        error => {
            let text = error.to_string();
            let text = text.lines().next().unwrap_or_default();
            // The library's message ends with line and column. They are removed here, because `at` contains them.
            let told = location.map(|at| format!(" at line {}, column {}", at.line(), at.column()));
            told.and_then(|told| text.strip_suffix(&told))
                .unwrap_or(text)
                .to_owned()
        }
    };
    Unreadable {
        at: location.map(|location| (location.line(), location.column())),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_any_number_of_documents() {
        let (documents, unreadable) = read(b"a: 1\n---\n---\n# nothing\n---\n{\"b\": [2]}\n");
        assert_eq!(
            (documents.len(), unreadable.len()),
            (2, 0),
            "{unreadable:?}"
        );
    }

    #[test]
    fn what_stands_before_a_fault_is_kept() {
        let (documents, unreadable) = read(b"a: 1\n---\nb: [1, 2\nc: 3\n");
        assert_eq!(documents.len(), 1);
        assert_eq!(unreadable.len(), 1);
        assert!(
            unreadable[0].to_string().starts_with("line "),
            "{}",
            unreadable[0]
        );
    }

    #[test]
    fn a_key_that_is_there_twice_is_told() {
        let (_, unreadable) = read(b"a: 1\nb: 2\na: 3\n");
        assert!(
            unreadable[0].to_string().starts_with("line 3 column 1: "),
            "{}",
            unreadable[0]
        );
    }
}
