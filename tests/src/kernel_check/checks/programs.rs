//! The kernel takes the programs.

use aya::programs::loaded_programs;

use crate::kernel_check::{
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

/// Programs that are loaded only where there is no `bpf_loop`. The kernel keeps 15 characters of a name, and these fit.
const WITHOUT_LOOPS: [&str; 3] = ["http1_drain", "http2_drain", "handshake_drain"];

/// Loads them for all checks that follow, and says what that took.
fn load() -> Verdict {
    let before = ids();
    let took = counted::load();
    measured(
        "loading all programs",
        format!("{:.1} s", took.as_secs_f64()),
    );
    // By id is no harm with programs, as it is with maps.
    let mut loaded: Vec<_> = loaded_programs()
        .flatten()
        .filter(|program| !before.contains(&program.id()))
        .filter_map(|program| {
            let name = program.name_as_str()?.to_owned();
            // Linux 5.16 tells it.
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
    // A refusal of what only older kernels refuse would cost no more than a line in the log.
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
    // Twice, so that the second finds what the first left.
    for _ in 0..2 {
        drop(Counted::new()?);
    }
    Ok(())
}
