//! The kernel accepts the programs.

use aya::programs::loaded_programs;

use crate::{
    Verdict,
    counted::{self, Counted},
    has_loops,
    measured::measured,
};

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    ("programs load", load),
    ("programs attach, and are detached", attach),
];

/// Programs that are loaded only without `bpf_loop`. The kernel keeps 15 characters of a name, and these names fit.
const WITHOUT_LOOPS: [&str; 3] = ["http1_drain", "http2_drain", "handshake_read"];

/// Loads the programs for all later checks, and records the time and the verifier's steps.
fn load() -> Verdict {
    let before = ids();
    let took = counted::load();
    measured(
        "loading all programs",
        format!("{:.1} s", took.as_secs_f64()),
    );
    // Opening programs by id is harmless, in contrast to maps.
    let mut loaded: Vec<_> = loaded_programs()
        .flatten()
        .filter(|program| !before.contains(&program.id()))
        .filter_map(|program| {
            let name = program.name_as_str()?.to_owned();
            // Available since Linux 5.16.
            let steps = program
                .verified_instruction_count()
                .filter(|count| *count > 0);
            Some((
                name,
                steps.map_or("not told".to_owned(), |count| count.to_string()),
            ))
        })
        .collect();
    loaded.sort();
    // Without this check, a program that only older kernels should refuse would fail with no more than a line in the log.
    let in_place: Vec<_> = loaded
        .iter()
        .filter(|(name, _)| WITHOUT_LOOPS.contains(&&**name))
        .collect();
    assert!(
        in_place.is_empty() || !has_loops(),
        "this kernel has bpf_loop, and runs {in_place:?}"
    );
    for (name, steps) in loaded {
        measured(&format!("steps to verify {name}"), steps);
    }
    Ok(())
}

fn ids() -> Vec<u32> {
    loaded_programs()
        .flatten()
        .map(|program| program.id())
        .collect()
}

fn attach() -> Verdict {
    // Twice, so that the second run meets the leftovers of the first.
    for _ in 0..2 {
        drop(Counted::new()?);
    }
    Ok(())
}
