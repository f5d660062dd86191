//! Builds the kernel programs and tells the crate where the object is, without what only a debugger reads: that is
//! five sixths of it, and would be in the memory of every agent.

use std::{env, error::Error, fs, path::Path, process::ExitCode};

use object::{build::elf, elf::SHT_STRTAB};

/// What the object depends on: the kernel side with the crate it shares with us, how it is built,
/// and the versions of what it is built from.
const INPUTS: [&str; 2] = ["../ebpf", "../Cargo.lock"];

fn main() -> ExitCode {
    for input in INPUTS {
        println!("cargo:rerun-if-changed={input}");
    }
    for variable in ["EBB_BPF_TOOLCHAIN", "EBB_CACHE"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let built = ebb_ebpf_build::build("../ebpf/programs").map_err(Into::into);
    match built.and_then(|object| stripped(&object)) {
        Ok(object) => {
            println!("cargo:rustc-env=EBB_KERNEL_OBJECT={object}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            // One line rather than anyhow's backtrace, which would bury it.
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

/// A copy of the object, in `OUT_DIR`, without DWARF and without the relocations of BTF, which its loaders pass over:
/// they take functions and lines from where the sections say.
fn stripped(object: &Path) -> Result<String, Box<dyn Error>> {
    let bytes = fs::read(object)?;
    let mut builder = elf::Builder::read(&*bytes)?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        let name = name.strip_prefix(b".rel").unwrap_or(name);
        let is_relocation = name.len() < section.name.len();
        section.delete =
            name.starts_with(b".debug_") || (is_relocation && name.starts_with(b".BTF"));
    }
    // LLVM keeps the names of sections with those of symbols; what is written here has a table for each.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = elf::SectionData::SectionString;
    builder.delete_orphans();
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    let path = Path::new(&env::var("OUT_DIR")?).join("ebb-ebpf-stripped.o");
    fs::write(&path, stripped)?;
    Ok(path.display().to_string())
}
