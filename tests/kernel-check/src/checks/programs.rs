//! Checks that the kernel accepts the programs.

use aya::programs::loaded_programs;

use crate::{
    Verdict,
    counted::{self, CountedCgroup},
    has_loops,
    measured::measured,
};

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    ("programs load", load),
    ("programs attach, and are detached", attach),
];

/// Names of programs that are loaded only on kernels without `bpf_loop`. The kernel keeps only the first 15 characters
/// of a name; these names are not longer.
const WITHOUT_LOOPS: [&str; 3] = ["http1_drain", "http2_drain", "handshake_read"];

/// Loads the programs for all later checks, and records the loading time and the number of instructions that the
/// verifier processed for each program.
fn load() -> Verdict {
    let before = ids();
    let took = counted::load();
    measured(
        "loading all programs",
        format!("{:.1} s", took.as_secs_f64()),
    );
    // Opening programs by id has no side effects. (Opening maps by id can have some: see `kernel_ids` of the fixtures.)
    let mut loaded: Vec<_> = loaded_programs()
        .flatten()
        .filter(|program| !before.contains(&program.id()))
        .filter_map(|program| {
            let name = program.name_as_str()?.to_owned();
            // Kernels before Linux 5.16 do not report the number of verified instructions.
            let steps = program
                .verified_instruction_count()
                .filter(|count| *count > 0);
            Some((
                name,
                steps.map_or("not reported".to_owned(), |count| count.to_string()),
            ))
        })
        .collect();
    loaded.sort();
    // A kernel with `bpf_loop` must run the programs that use it. If the kernel rejected one of these programs, the
    // agent would use a program without loops, and only a line in the log would show it. This check turns that case
    // into a failure.
    let in_place: Vec<_> = loaded
        .iter()
        .filter(|(name, _)| WITHOUT_LOOPS.contains(&&**name))
        .collect();
    assert!(
        in_place.is_empty() || !has_loops(),
        "this kernel has bpf_loop, but the agent loaded programs without loops: {in_place:?}"
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
    // The programs are attached twice: the first attachment must leave nothing behind that disturbs the second one.
    for _ in 0..2 {
        drop(CountedCgroup::new()?);
    }
    Ok(())
}
