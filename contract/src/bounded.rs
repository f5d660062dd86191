//! Length limit of the texts in a report.
//!
//! Texts from reports are stored, shown and used as metric labels. So a text that is longer than any Kubernetes name
//! makes the whole report invalid.

use std::{borrow::Cow, fmt};

use serde::{Deserializer, de::Error, de::Visitor};

/// Maximum length of a text, in bytes. A Kubernetes name has at most 253 characters, all of them ASCII
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>); a boot id has 36 characters.
pub const LONGEST: usize = 253;

/// Deserializes a text, borrowed from the input if it has no escapes.
pub(crate) fn borrowed<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Cow<'a, str>, D::Error> {
    deserializer.deserialize_str(Text)
}

/// Deserializes a text into an owned string.
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
