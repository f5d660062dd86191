//! Builds the kernel programs, and gives the crate the path of the object file. Debug sections are removed: they are
//! five sixths of the object and would occupy memory in every agent.

use std::{env, error::Error, fs, path::Path, process::ExitCode};

use object::{build::elf, elf::SHT_STRTAB};

/// Paths whose changes rebuild the object: the sources and the build of the kernel programs, and the versions of their
/// dependencies.
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
            // `cargo::error` prints one line. An error returned from `main` would be printed with a long backtrace.
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a copy of the object to `OUT_DIR` and returns its path. The copy has no DWARF and no relocations of BTF
/// sections. Loaders ignore these relocations, because the BTF sections themselves contain the positions of functions
/// and lines.
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
    // LLVM stores section names and symbol names in one table. The writer needs a separate table for section names, so
    // this table is added.
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
