//! Writes the inputs with which the fuzzers begin: `seeds DIR` creates one folder in DIR for each target.

use std::{env, fs, io, path::PathBuf, process::ExitCode};

use ebb_parser_testing::targets::ALL;

fn main() -> ExitCode {
    let Some(dir) = env::args_os().nth(1) else {
        eprintln!("usage: seeds DIR");
        return ExitCode::from(2);
    };
    match write(&PathBuf::from(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write the seeds: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(dir: &std::path::Path) -> io::Result<()> {
    for target in ALL {
        let dir = dir.join(target.name);
        fs::create_dir_all(&dir)?;
        for (index, seed) in (target.seeds)().iter().enumerate() {
            fs::write(dir.join(format!("seed-{index:02}")), seed)?;
        }
    }
    Ok(())
}
