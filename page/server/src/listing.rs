//! The response to `GET /v1/workloads?limit=&continue=`: some of the workloads, and where the next part begins.
//!
//! A part is limited in workloads and in bytes. If a response has the key `continue`, the client sends its value in the
//! next request. Failure mode: a workload is missed if it is created between two requests and its name sorts before the
//! current position.

use ebb_page_model::{About, Workload};

/// Maximum number of workloads in a response, and the default of `limit`.
const MOST: usize = 5_000;
/// Size of a response in bytes after which no further workload is added: about 5 000 usual workloads. A client that
/// does not read its response keeps this much memory of the program in use.
const BYTES: usize = 4 << 20;

/// The part of the list of workloads that a client requests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    limit: Option<usize>,
    after: Option<String>,
}

impl Part {
    /// Parses a query. Unknown keys are ignored.
    ///
    /// # Errors
    /// A value is invalid. The error says which values are allowed.
    pub(crate) fn read(query: Option<&str>) -> Result<Self, String> {
        let mut part = Self::default();
        for pair in query.unwrap_or_default().split('&') {
            match pair.split_once('=') {
                Some(("limit", value)) => {
                    let limit = value.parse().map_err(|_| {
                        "limit must be a number of workloads; 0 means the maximum".to_owned()
                    })?;
                    part.limit = Some(limit).filter(|limit| *limit > 0);
                }
                Some(("continue", value)) => {
                    part.after = Some(value.to_owned()).filter(|value| !value.is_empty());
                }
                _ => {}
            }
        }
        Ok(part)
    }

    /// Returns the response as JSON. `all` must be ordered by the sort key of the workloads ([`token`]).
    pub(crate) fn json(&self, about: &About, all: &[Workload]) -> String {
        let begin = self.after.as_ref().map_or(0, |after| {
            all.partition_point(|workload| token(workload) <= *after)
        });
        let limit = self.limit.unwrap_or(MOST).min(MOST);
        // Plain data with string keys can always be converted to JSON.
        let head = serde_json::to_string(about).unwrap_or_default();
        let mut json = format!("{},\"workloads\":[", head.trim_end_matches('}'));
        let mut last = None;
        let mut rest = all[begin..].iter();
        for workload in rest.by_ref().take(limit) {
            if last.is_some() {
                json.push(',');
            }
            json += &serde_json::to_string(workload).unwrap_or_default();
            last = Some(workload);
            if json.len() >= BYTES {
                break;
            }
        }
        json.push(']');
        if let (Some(last), 1..) = (last, rest.len()) {
            let next = serde_json::to_string(&token(last)).unwrap_or_default();
            json += &format!(",\"continue\":{next}");
        }
        json.push('}');
        json
    }
}

/// Returns the sort key of a workload. The key needs no escaping in a query: `~` replaces `/`, and no Kubernetes name
/// contains `~`.
pub(crate) fn token(workload: &Workload) -> String {
    workload.id().to_string().replace('/', "~")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebb_page_model::All;

    fn all(count: usize, name: &str) -> Vec<Workload> {
        let mut all: Vec<_> = (0..count)
            .map(|number| Workload {
                namespace: "many".to_owned(),
                kind: "Deployment".to_owned(),
                name: format!("{name}{number:05}"),
                ..Workload::default()
            })
            .collect();
        all.sort_by_cached_key(token);
        all
    }

    /// Reads all parts of the list of workloads. Returns (the workloads, the number of parts, the length of the longest
    /// part).
    fn read(all: &[Workload], limit: &str) -> (Vec<Workload>, usize, usize) {
        let about = About {
            program: "test".into(),
            version: "1".into(),
            replica: "a".to_owned(),
            leading: true,
        };
        let (mut read, mut parts, mut longest) = (Vec::new(), 0, 0);
        let mut query = limit.to_owned();
        loop {
            let json = Part::read(Some(&query)).unwrap().json(&about, all);
            let part: All = serde_json::from_str(&json).unwrap();
            assert_eq!(part.about, about);
            read.extend(part.workloads);
            parts += 1;
            longest = longest.max(json.len());
            match part.next {
                Some(next) => query = format!("{limit}&continue={next}"),
                None => return (read, parts, longest),
            }
        }
    }

    #[test]
    fn t6_parts_are_bounded_and_make_up_the_whole() {
        let many = all(12_000, "web-");
        let (found, parts, _) = read(&many, "");
        assert_eq!((found == many, parts), (true, 3));
        let (found, parts, _) = read(&many[..1_000], "limit=300");
        assert_eq!((found.len(), parts), (1_000, 4));
        let (found, _, longest) = read(&all(10_000, &"long-".repeat(50)), "limit=99999999");
        assert_eq!(found.len(), 10_000);
        assert!(longest < BYTES + 10_000, "{longest} bytes");
        assert_eq!(read(&[], "").0.len(), 0);
    }

    #[test]
    fn t6_a_workload_that_is_gone_does_not_end_the_list() {
        let many = all(10, "web-");
        let part = Part::read(Some("continue=many~Deployment~web-00004")).unwrap();
        let rest: Vec<_> = [&many[..4], &many[5..]].concat();
        let about = About {
            program: "test".into(),
            version: "1".into(),
            replica: "a".to_owned(),
            leading: true,
        };
        let json = part.json(&about, &rest);
        let part: All = serde_json::from_str(&json).unwrap();
        assert_eq!(part.workloads, many[5..]);
    }

    #[test]
    fn a_query_that_makes_no_sense_is_told_what_is_allowed() {
        assert!(
            Part::read(Some("limit=many"))
                .unwrap_err()
                .contains("must be a number")
        );
        let none = Part::default();
        for query in [
            None,
            Some(""),
            Some("limit=0&continue="),
            Some("pretty&a=b"),
        ] {
            assert_eq!(Part::read(query).unwrap(), none, "{query:?}");
        }
    }
}
