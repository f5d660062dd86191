//! The counting rules of a pod: its ports and its excluded paths.

use ebb_abi::{Exclusion, HUFFMAN, MAX_EXCLUDED_PATH, MAX_PORTS, PodRules, clients};
use ebb_contract::limits;

// The annotations are validated with the limits of the contract, and the kernel programs have the tables of the ABI.
const _: () = assert!(limits::MAX_PORTS == MAX_PORTS);
const _: () = assert!(limits::MAX_EXCLUDED_PATH == MAX_EXCLUDED_PATH);

/// The counting rules of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Serving ports (`ebb.dev/ports`). If empty, every listening port is a serving port, but connections from inside
    /// the pod are not counted, unless `only_inside` is set.
    pub ports: Vec<u16>,
    /// Only connections from inside the pod are counted, such as those from a sidecar to the application.
    pub only_inside: bool,
    /// Paths to which requests are not counted (`ebb.dev/exclude-paths`). The path of a request is compared without its
    /// query.
    pub exclude_paths: Vec<String>,
}

/// An invalid rule.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RulesError {
    /// Too many ports.
    #[error("ports: {0} given, at most {MAX_PORTS} are allowed")]
    TooManyPorts(usize),
    /// Port 0.
    #[error("ports: 0 is not a valid port; 1 to 65535 are allowed")]
    PortZero,
    /// A path that the kernel programs cannot match.
    #[error(
        "exclude-path: {0:?} must begin with /, have at most {MAX_EXCLUDED_PATH} bytes, and contain only visible \
         ASCII characters other than ?"
    )]
    Path(String),
}

impl Rules {
    /// Converts the rules to the format of the kernel programs.
    ///
    /// # Errors
    /// A rule is invalid.
    pub(crate) fn for_kernel(&self, slot: u32) -> Result<(PodRules, Vec<Exclusion>), RulesError> {
        if self.ports.len() > MAX_PORTS {
            return Err(RulesError::TooManyPorts(self.ports.len()));
        }
        if self.ports.contains(&0) {
            return Err(RulesError::PortZero);
        }
        let mut rules = PodRules {
            port_count: self.ports.len() as u32,
            has_exclusions: u32::from(!self.exclude_paths.is_empty()),
            clients: if self.only_inside {
                clients::INSIDE
            } else if self.ports.is_empty() {
                clients::OUTSIDE
            } else {
                clients::ALL
            },
            ports: [0; MAX_PORTS],
        };
        for (to, from) in rules.ports.iter_mut().zip(&self.ports) {
            *to = *from;
        }
        let mut exclusions = Vec::with_capacity(2 * self.exclude_paths.len());
        for path in &self.exclude_paths {
            exclusions.push(exclusion(slot, path)?);
            exclusions.extend(compressed(slot, path));
        }
        Ok((rules, exclusions))
    }

    /// Converts the rules of a slot from the format of the kernel programs. `exclusions` are the entries of all slots.
    /// The returned paths are sorted.
    pub(crate) fn from_kernel(slot: u32, rules: &PodRules, exclusions: &[Exclusion]) -> Self {
        let ports = rules.ports.iter().take(rules.port_count as usize);
        let mut exclude_paths: Vec<_> = exclusions
            .iter()
            .filter(|exclusion| exclusion.slot == u64::from(slot))
            .map(path)
            .collect();
        exclude_paths.sort();
        Self {
            ports: ports.copied().collect(),
            only_inside: rules.clients == clients::INSIDE,
            exclude_paths,
        }
    }
}

/// Returns the path in a key of the map `EXCLUSIONS`: all bytes before the first zero.
fn path(exclusion: &Exclusion) -> String {
    exclusion
        .path
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .take_while(|byte| *byte != 0)
        .map(char::from)
        .collect()
}

fn exclusion(slot: u32, path: &str) -> Result<Exclusion, RulesError> {
    if !limits::is_excludable(path) {
        return Err(RulesError::Path(path.to_owned()));
    }
    Ok(Exclusion {
        slot: u64::from(slot),
        path: words(path.as_bytes()),
    })
}

/// Returns the key for a path in HTTP/2's Huffman code, or `None` if the encoded path does not fit into a key.
fn compressed(slot: u32, path: &str) -> Option<Exclusion> {
    let mut code = Vec::new();
    httlib_huffman::encode(path.as_bytes(), &mut code).ok()?;
    (code.len() <= MAX_EXCLUDED_PATH).then(|| Exclusion {
        slot: u64::from(slot) | HUFFMAN,
        path: words(&code),
    })
}

/// Packs bytes into little-endian words, as the kernel programs do on machines of either byte order. The unused bytes
/// are zero. [`path`] is the inverse function.
fn words(bytes: &[u8]) -> [u64; MAX_EXCLUDED_PATH / 8] {
    let mut words = [0; MAX_EXCLUDED_PATH / 8];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
        *word = chunk
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_zero_filled_words() {
        let exclusion = exclusion(7, "/metrics/all").unwrap();
        assert_eq!(exclusion.slot, 7);
        assert_eq!(exclusion.path[0], u64::from_le_bytes(*b"/metrics"));
        assert_eq!(exclusion.path[1], u64::from_le_bytes(*b"/all\0\0\0\0"));
        assert_eq!(exclusion.path[2..], [0; 3]);
    }

    #[test]
    fn rules_are_read_back_as_they_were_written() {
        let rules = Rules {
            ports: vec![80, 8080],
            only_inside: true,
            exclude_paths: vec![
                "/healthz".into(),
                format!("/{}", "x".repeat(MAX_EXCLUDED_PATH - 1)),
            ],
        };
        let (kernel, mut exclusions) = rules.for_kernel(3).unwrap();
        exclusions.extend([exclusion(4, "/other").unwrap()]);
        assert_eq!(Rules::from_kernel(3, &kernel, &exclusions), rules);
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let path = |path: &str| {
            Rules {
                exclude_paths: vec![path.into()],
                ..Rules::default()
            }
            .for_kernel(1)
        };
        for bad in [
            "",
            "metrics",
            "/a b",
            "/a?b",
            &format!("/{}", "x".repeat(MAX_EXCLUDED_PATH)),
        ] {
            assert_eq!(path(bad).unwrap_err(), RulesError::Path(bad.into()));
        }
        let ports = |ports: Vec<u16>| {
            Rules {
                ports,
                ..Rules::default()
            }
            .for_kernel(1)
        };
        assert_eq!(ports(vec![0]).unwrap_err(), RulesError::PortZero);
        assert_eq!(
            ports(vec![1; MAX_PORTS + 1]).unwrap_err(),
            RulesError::TooManyPorts(MAX_PORTS + 1)
        );
    }
}
