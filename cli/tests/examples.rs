//! Tests that each command printed in `docs/simulate.md` reproduces its picture, byte for byte.
//!
//! `EBB_UPDATE_EXAMPLES=1` replaces the pictures instead of comparing them.

use std::{env, fs, path::Path, process::Command};

#[test]
fn each_command_reproduces_its_picture() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join("docs/simulate.md")).unwrap();
    let commands: Vec<&str> = text
        .split("```sh\n")
        .skip(1)
        .map(|block| block.split_once("```").unwrap().0)
        .filter(|command| command.contains("--plot "))
        .collect();
    assert_eq!(commands.len(), 3, "an example was lost");

    // The commands run in a copy of `docs/examples` without the pictures.
    let directory = tempfile::tempdir().unwrap();
    let examples = directory.path().join("docs/examples");
    fs::create_dir_all(&examples).unwrap();
    for entry in fs::read_dir(root.join("docs/examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            fs::copy(&path, examples.join(path.file_name().unwrap())).unwrap();
        }
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_ebb")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), env::var("PATH").unwrap());
    for command in commands {
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(directory.path())
            .env("PATH", &path)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}\n{stderr}");
        let (_, name) = command.split_once("--plot ").unwrap();
        let name = name.trim();
        let drawn = fs::read(directory.path().join(name)).unwrap();
        let kept = root.join(name);
        if env::var_os("EBB_UPDATE_EXAMPLES").is_some() {
            fs::write(&kept, &drawn).unwrap();
        }
        let same = fs::read(&kept).unwrap() == drawn;
        assert!(
            same,
            "{name} differs from the picture that the command draws; EBB_UPDATE_EXAMPLES=1 replaces it:\n{command}"
        );
    }
}
