//! Checks whether the demo showed the expected course: 0 → 1 → N → 0, and every response a 200.

use std::fmt;

use super::script::Played;

/// The checks, each with the observed result.
pub(super) struct Verdict(Vec<Check>);

struct Check {
    good: bool,
    text: String,
}

impl Verdict {
    /// Makes all checks on a demo.
    pub(super) fn of(played: &Played) -> Self {
        let timeline = &played.timeline;
        let ready_after = |name: &str| {
            let span = timeline.spans.iter().find(|span| span.name == name)?;
            Some(timeline.ready_at(span.to))
        };
        let peak = timeline.peak_ready();
        let requests: usize = played
            .outcomes
            .iter()
            .map(|outcome| outcome.requests())
            .sum();
        let failures: Vec<_> = played
            .outcomes
            .iter()
            .flat_map(|outcome| &outcome.failures)
            .collect();

        let mut checks = Vec::new();
        let mut check = |good, text| checks.push(Check { good, text });
        let idle = ready_after("idle");
        check(
            idle == Some(0),
            format!("starts at 0: {} before the first request", replicas(idle)),
        );
        let woken = ready_after("one request");
        match timeline.cold_starts.first() {
            Some(cold) => check(
                woken == Some(1),
                format!(
                    "0 → 1: the first request waited {:.0} ms for {}: {:.0} ms for the start, {:.1} ms added by Ebb",
                    cold.waited_ms,
                    replicas(woken),
                    cold.start_ms,
                    cold.added_ms
                ),
            ),
            None => check(
                false,
                format!(
                    "0 → 1: no cold start was seen; {} after the first request",
                    replicas(woken)
                ),
            ),
        }
        check(
            peak > 1,
            format!("1 → N: {} ready at the peak", replicas(Some(peak))),
        );
        let end = timeline.decisions.last().map(|decision| decision.replicas);
        check(
            end == Some(0),
            format!("N → 0: {} at the end", replicas(end)),
        );
        let first = failures.first().map_or_else(String::new, |failure| {
            format!("; the first failure: {failure}")
        });
        let good = requests - failures.len();
        check(
            requests > 0 && failures.is_empty(),
            format!("{good} of {requests} responses were 200{first}"),
        );
        Self(checks)
    }

    /// Returns whether all checks have passed.
    pub(super) fn is_good(&self) -> bool {
        self.0.iter().all(|check| check.good)
    }
}

fn replicas(number: Option<u32>) -> String {
    match number {
        None => "no decision".to_owned(),
        Some(0) => "no replica".to_owned(),
        Some(1) => "one replica".to_owned(),
        Some(number) => format!("{number} replicas"),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|Check { good, text }| {
            writeln!(f, "{} {text}", if *good { "✓" } else { "✗" })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::sample;

    #[test]
    fn a_demo_that_goes_up_and_back_is_good() {
        let verdict = Verdict::of(&sample::played());
        assert!(verdict.is_good(), "{verdict}");
        assert!(
            verdict.to_string().contains("5 replicas ready at the peak"),
            "{verdict}"
        );
    }

    #[test]
    fn one_bad_response_or_copy_left_spoils_it() {
        let mut played = sample::played();
        played.outcomes[3].failures.push("status 503".to_owned());
        let text = Verdict::of(&played).to_string();
        assert!(text.contains("the first failure: status 503"), "{text}");

        let mut played = sample::played();
        played.timeline.decisions.last_mut().unwrap().replicas = 1;
        assert!(!Verdict::of(&played).is_good());
    }

    #[test]
    fn a_demo_of_which_nothing_was_seen_is_bad() {
        let nothing = Played {
            timeline: Default::default(),
            outcomes: Vec::new(),
        };
        assert!(!Verdict::of(&nothing).is_good());
    }
}
