//! The values of Ebb's own keys.

use crate::problem::Fault;

/// Whether a decision is carried out: `ebb.dev/mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Decide and act; there is no value for it, it is what happens without the key.
    #[default]
    Act,
    /// Decide and show, and leave the workload alone.
    Recommend,
}

impl Mode {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "recommend" => Ok(Self::Recommend),
            _ => Err(Fault::Invalid {
                value: text.to_owned(),
                allowed: "recommend, or absent to act on decisions",
            }),
        }
    }
}

/// The ports whose connections are counted: `80,8080`. Spaces around a comma are forgiven.
pub(super) fn ports(text: &str) -> Result<Vec<u16>, Fault> {
    let invalid = || Fault::Invalid {
        value: text.to_owned(),
        allowed: "port numbers from 1 to 65535, separated by commas",
    };
    text.split(',')
        .map(|port| {
            port.trim()
                .parse()
                .ok()
                .filter(|&port: &u16| port != 0)
                .ok_or_else(invalid)
        })
        .collect()
}

/// The paths whose requests are not counted: `/metrics,/healthz`.
pub(super) fn exclude_paths(text: &str) -> Result<Vec<String>, Fault> {
    text.split(',')
        .map(str::trim)
        .map(|path| match path.starts_with('/') {
            true => Ok(path.to_owned()),
            false => Err(Fault::Invalid {
                value: text.to_owned(),
                allowed: "paths that start with /, separated by commas",
            }),
        })
        .collect()
}
