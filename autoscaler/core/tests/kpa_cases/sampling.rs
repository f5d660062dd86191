//! Group `sampling`: a workload's figures, computed from those of some of its pods.

use ebb_autoscaler_core::{
    Sample,
    sampling::{extrapolate, sample_size},
};

use crate::row::{Row, Words};

pub(crate) fn check(row: &Row) {
    match (row.config.as_str(), row.input.as_str()) {
        ("n<=3 -> n else ceil(n*15.3664/(n+14.3664))", input) => {
            let ready = input.strip_prefix("ready pods=").unwrap().parse().unwrap();
            let expected: u32 = row
                .expected
                .strip_prefix("pods scraped=")
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(sample_size(ready), expected);
        }
        (
            "3 pods, sample 3",
            "concurrency 3,5,3; proxied 2,4,2; count 5,7,5; proxied count 4,6,4",
        ) => {
            let pod = |concurrency, proxied_concurrency, requests, proxied_requests| Sample {
                concurrency,
                proxied_concurrency,
                requests,
                proxied_requests,
            };
            let pods = [
                pod(3.0, 2.0, 5.0, 4.0),
                pod(5.0, 4.0, 7.0, 6.0),
                pod(3.0, 2.0, 5.0, 4.0),
            ];
            let words = Words::of(row.expected.strip_prefix("sum/sample*total: ").unwrap());
            let expected = pod(
                words.number("concurrency"),
                words.number("proxied"),
                words.number("count"),
                words.number("proxiedCount"),
            );
            assert_eq!(extrapolate(&pods, 3), Ok(expected));
        }
        ("4 pods need 4 successes", "1 of 4 fails") => {
            assert!(
                row.expected
                    .starts_with("error (pods exhausted); nothing recorded")
            );
            let error = extrapolate(&[Sample::new(1.0, 1.0); 3], 4).unwrap_err();
            assert_eq!(error.to_string(), "3 of 4 pods answered: at least 4 must");
        }
        ("service mode, 11 pods (3 young), sample 7", "old pods 8..20") => {
            assert_eq!(sample_size(11), 7);
            let old: Vec<_> = (8..=20)
                .step_by(2)
                .map(|load| Sample::new(load.into(), 0.0))
                .collect();
            assert_eq!(old.len(), 7);
            assert_eq!(
                extrapolate(&old, 11).unwrap().concurrency,
                row.expected.parse::<f64>().unwrap()
            );
        }
        other => panic!("not understood: {other:?}"),
    }
}
