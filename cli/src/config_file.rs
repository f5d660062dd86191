//! The file of `--config`: the ConfigMap `config-autoscaler`, or just its keys, in YAML or JSON.
//!
//! Only the form of the file is checked here; the decision code validates the settings.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// The reason why no settings could be read from the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// The file given with `--config` cannot be read.
    #[error("--config {}: {source}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is neither a `config-autoscaler` ConfigMap nor a map of its keys to values.
    #[error(
        "--config {}: expected a config-autoscaler ConfigMap or its keys, in YAML or JSON: {}",
        path.display(), one_line(reason)
    )]
    Form {
        /// The path of the file.
        path: PathBuf,
        /// The message of the parser.
        reason: String,
    },
}

/// Reads the settings file at `path` and returns its keys and values.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, String>, FileError> {
    let text = fs::read_to_string(path).map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })?;
    keys(&text).map_err(|reason| FileError::Form {
        path: path.to_owned(),
        reason,
    })
}

/// Returns the keys and values in `text`, which is YAML or JSON (a subset of YAML). A ConfigMap has the keys in `data`.
fn keys(text: &str) -> Result<BTreeMap<String, String>, String> {
    let file: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let Value::Object(mut file) = file else {
        return Err("the file is not a map of keys to values".to_owned());
    };
    let keys = match file.remove("data") {
        Some(Value::Object(data)) => data,
        Some(_) => return Err("data is not a map of keys to values".to_owned()),
        None => file,
    };
    let pair = |(key, value)| match value {
        Value::String(text) => Ok((key, text)),
        // Numbers and booleans are accepted too, because users write them without quotes.
        Value::Number(_) | Value::Bool(_) => Ok((key, value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(format!("{key} must be a string, a number or a boolean"))
        }
    };
    keys.into_iter().map(pair).collect()
}

/// Returns the first line of a parser's message. The first line names the error; the other lines quote the place.
fn one_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_map_and_its_keys_alone_say_the_same() {
        let expected = BTreeMap::from(
            [
                ("stable-window", "30s"),
                ("max-scale", "3"),
                ("enable-scale-to-zero", "false"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        for text in [
            "stable-window: 30s\nmax-scale: 3\nenable-scale-to-zero: false\n",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-autoscaler\n  namespace: knative-serving\n\
             data:\n  stable-window: \"30s\"\n  max-scale: \"3\"\n  enable-scale-to-zero: \"false\"\n",
            r#"{"stable-window": "30s", "max-scale": 3, "enable-scale-to-zero": false}"#,
        ] {
            assert_eq!(keys(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_map_is_refused() {
        assert!(keys("- stable-window\n").is_err());
        assert!(keys("stable-window: [30s]\n").is_err());
    }
}
