//! The texts of a report, as short as names are.
//!
//! What is read is kept, shown and becomes a label of metrics. So a text that is longer than any name of Kubernetes is an
//! error of the whole report.

use std::{borrow::Cow, fmt};

use serde::{Deserializer, de::Error, de::Visitor};

/// Longest text, in bytes. A name of Kubernetes has at most 253 characters, all of them ASCII
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>); a boot id has 36.
pub const LONGEST: usize = 253;

/// Reads a text as a part of what is read, where it needs no decoding.
pub(crate) fn borrowed<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Cow<'a, str>, D::Error> {
    deserializer.deserialize_str(Text)
}

/// Reads a text that outlives what is read.
pub(crate) fn owned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    borrowed(deserializer).map(Cow::into_owned)
}

struct Text;

impl Text {
    fn check<E: Error>(text: &str) -> Result<(), E> {
        match text.len() {
            0..=LONGEST => Ok(()),
            length => Err(E::custom(format_args!(
                "a text of {length} bytes; at most {LONGEST} are allowed"
            ))),
        }
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text of at most {LONGEST} bytes")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Self::check(text).map(|()| Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Self::check(text).map(|()| Cow::Owned(text.to_owned()))
    }
}
