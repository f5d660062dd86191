//! The columns of a case in the case file, and parsers for the notations in them.

use std::{collections::BTreeMap, time::Duration};

use ebb_autoscaler_core::GoDuration;

/// One line of the case file.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) group: String,
    pub(crate) config: String,
    pub(crate) input: String,
    pub(crate) expected: String,
    pub(crate) tolerance: String,
}

impl Row {
    /// Runs `reader` on the row; if it panics, the whole row is printed next to the message.
    pub(crate) fn show_if_it_fails(&self, reader: fn(&Row)) {
        let shown = OnPanic(self);
        reader(self);
        drop(shown);
    }

    /// Returns the annotations in the `input` column of a row. A remark in brackets after the annotations names the
    /// class.
    pub(crate) fn annotations(&self) -> Vec<(String, &str)> {
        let (text, class) = match self.input.split_once(" (") {
            None => (self.input.as_str(), None),
            Some((text, "class hpa)")) => (text, Some("hpa.autoscaling.knative.dev")),
            Some((text, "other class)")) => (text, Some("some.other.domain")),
            Some((_, remark)) => panic!("not understood: {remark}"),
        };
        pairs(text)
            .into_iter()
            .chain(class.map(|class| ("class", class)))
            .map(|(key, value)| (format!("autoscaling.knative.dev/{key}"), value))
            .collect()
    }
}

/// Prints the whole row next to the message of a failed assertion.
struct OnPanic<'a>(&'a Row);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:#?}", self.0);
        }
    }
}

/// Parses `key=value,key=value`.
pub(crate) fn pairs(text: &str) -> Vec<(&str, &str)> {
    text.split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap())
        .collect()
}

pub(crate) fn read(text: &str) -> Vec<Row> {
    let rows: Vec<Row> = csv::Reader::from_reader(text.as_bytes())
        .deserialize()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows.len(), text.lines().count() - 1, "a row was lost");
    rows
}

/// The `key=value` words of a text. If a key occurs more than once, the last value applies. `a=b=1` sets both `a` and
/// `b` to 1.
pub(crate) struct Words(BTreeMap<String, String>);

impl Words {
    pub(crate) fn of(text: &str) -> Self {
        let mut words = BTreeMap::new();
        for word in text.split_whitespace().filter(|word| word.contains('=')) {
            let (keys, value) = word.rsplit_once('=').unwrap();
            for key in keys.split('=') {
                words.insert(key.to_owned(), value.to_owned());
            }
        }
        Self(words)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    #[track_caller]
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key)
            .unwrap_or_else(|| panic!("no {key} in {:?}", self.0))
    }

    #[track_caller]
    pub(crate) fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, key: &str) -> T {
        self.text(key)
            .parse()
            .unwrap_or_else(|error| panic!("{key}={}: {error:?}", self.text(key)))
    }

    #[track_caller]
    pub(crate) fn duration(&self, key: &str) -> Duration {
        duration(self.text(key))
    }
}

#[track_caller]
pub(crate) fn duration(text: &str) -> Duration {
    text.parse::<GoDuration>()
        .ok()
        .and_then(GoDuration::unsigned)
        .unwrap_or_else(|| panic!("{text:?} is no duration"))
}

/// Returns the text between `before` and `after`; `None` if one of them is missing.
pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(after)
}
