//! The programs and maps in the kernel, newly loaded or opened from pins.
//!
//! Maps are never opened by their ids: on Linux 6.18, a program array is never freed if a process opens it by its id
//! while its last owner ends.

mod bpf;
mod link;
mod object;
mod shape;

use std::{num::NonZero, path::Path, sync::Mutex, thread};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, MapError, ProgramArray, RingBuf},
    programs::{
        CgroupSkb, CgroupSock, CgroupSockAttachType, Program, ProgramError, ProgramFd, SockOps,
    },
};
use aya_log::EbpfLogger;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use crate::CounterError;

pub(crate) use self::{
    link::{Hook, Link, LinkInfo},
    object::{ATTACHED, build},
    shape::Shape,
};

/// The programs and maps in the kernel.
#[derive(Debug)]
pub(crate) struct Kernel(Ebpf);

impl Kernel {
    /// Loads new programs and maps. Requires Linux 5.10, and root or `CAP_BPF` and `CAP_NET_ADMIN`.
    pub(crate) fn load() -> Result<Self, CounterError> {
        let mut kernel = Self::with_maps(&mut EbpfLoader::new())?;
        kernel.load_programs()?;
        kernel.connect_calls()?;
        Ok(kernel)
    }

    /// Opens the maps that are pinned in `directory`; creates and pins the missing maps. The programs are not loaded:
    /// see [`Self::load_programs`] and [`Self::open_programs`].
    pub(crate) fn with_pinned_maps(directory: &Path, maps: &[Shape]) -> Result<Self, CounterError> {
        let mut loader = EbpfLoader::new();
        for Shape { name, .. } in maps {
            loader.map_pin_path(name, directory.join(name));
        }
        Self::with_maps(&mut loader)
    }

    fn with_maps(loader: &mut EbpfLoader<'_>) -> Result<Self, CounterError> {
        // Before Linux 5.11, maps count as locked memory, so the limit is raised. An error is ignored, because later
        // kernels do not need the higher limit.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
        loader.load(object::OBJECT).map(Self).map_err(|error| {
            if nix::unistd::geteuid().is_root() {
                CounterError::Load(Box::new(error))
            } else {
                CounterError::NotPermitted
            }
        })
    }

    /// Verifies and loads the required programs and the optional programs that this kernel accepts. For each optional
    /// program that the kernel rejects, loads its substitute.
    pub(crate) fn load_programs(&mut self) -> Result<(), CounterError> {
        self.load_those(|name| !object::is_substitute(name))?;
        let substitutes: Vec<_> = object::CALLS
            .iter()
            .filter(|call| self.program(call.program).is_err())
            .filter_map(|call| call.instead)
            .filter(|name| self.program(name).is_err())
            .collect();
        self.load_those(|name| substitutes.contains(&name))
    }

    /// Loads these programs in parallel: nearly all of the loading time is spent in the verifier.
    fn load_those(&mut self, these: impl Fn(&str) -> bool) -> Result<(), CounterError> {
        let mut programs: Vec<_> = self
            .0
            .programs_mut()
            .filter(|(name, _)| these(name))
            .collect();
        // The attached programs take longest, so they are loaded first.
        programs.sort_by_key(|(name, _)| !ATTACHED.iter().any(|(attached, _)| name == attached));
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = threads.min(programs.len());
        let programs = Mutex::new(programs.into_iter());
        let next = || programs.lock().ok()?.next();
        let load_all = || {
            while let Some((name, program)) = next() {
                load(name, program).map_err(|source| program_error(name, source))?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(load_all)).collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }

    /// Opens the programs that are pinned in `directory`.
    pub(crate) fn open_programs(&mut self, directory: &Path) -> Result<(), CounterError> {
        self.each_named(|name, program| {
            let path = directory.join(name);
            if object::is_optional(name) && !path.exists() {
                return Ok(());
            }
            match program {
                Program::CgroupSkb(program) => {
                    let hook = program
                        .expected_attach_type()
                        .ok_or(ProgramError::UnexpectedProgramType)?;
                    *program = CgroupSkb::from_pin(path, hook)?;
                }
                Program::SockOps(program) => *program = SockOps::from_pin(path)?,
                Program::CgroupSock(program) => {
                    *program = CgroupSock::from_pin(path, CgroupSockAttachType::SockRelease)?;
                }
                _ => return Err(ProgramError::UnexpectedProgramType),
            }
            Ok(())
        })
    }

    /// Pins the programs in `directory`.
    pub(crate) fn pin_programs(&mut self, directory: &Path) -> Result<(), CounterError> {
        self.each_named(|name, program| {
            if object::is_optional(name) && program.fd().is_err() {
                return Ok(());
            }
            program
                .pin(directory.join(name))
                .map_err(|error| ProgramError::IOError(std::io::Error::other(error)))
        })
    }

    /// Fills the program arrays through which the programs call each other.
    pub(crate) fn connect_calls(&mut self) -> Result<(), CounterError> {
        for call in object::CALLS {
            let program = match (self.program(call.program), call.instead) {
                (Err(_), Some(instead)) => self.program(instead)?,
                (program, _) => program?,
            };
            let program = program
                .try_clone()
                .map_err(|error| program_error(call.program, ProgramError::IOError(error)))?;
            let mut programs: ProgramArray<_> = self.map(call.array)?;
            programs
                .set(call.place, &program, 0)
                .map_err(|source| map_error(call.array, source))?;
        }
        Ok(())
    }

    /// Returns the names of the required programs.
    pub(crate) fn program_names(&self) -> impl Iterator<Item = &str> {
        self.0
            .programs()
            .map(|(name, _)| name)
            .filter(|name| !object::is_optional(name))
    }

    /// Returns a loaded program.
    pub(crate) fn program(&self, name: &'static str) -> Result<&ProgramFd, CounterError> {
        self.0
            .program(name)
            .ok_or(CounterError::Incomplete(name))?
            .fd()
            .map_err(|source| program_error(name, source))
    }

    /// Returns the kernel's id of a loaded program.
    pub(crate) fn program_id(&self, name: &'static str) -> Result<u32, CounterError> {
        self.0
            .program(name)
            .ok_or(CounterError::Incomplete(name))?
            .info()
            .map(|info| info.id())
            .map_err(|source| program_error(name, source))
    }

    /// Returns a map, opened for reading and writing.
    pub(crate) fn map<'a, M>(&'a mut self, name: &'static str) -> Result<M, CounterError>
    where
        M: TryFrom<&'a mut Map, Error = MapError>,
    {
        self.0
            .map_mut(name)
            .ok_or(CounterError::Incomplete(name))?
            .try_into()
            .map_err(|source| map_error(name, source))
    }

    /// Returns a map as aya's untyped [`Map`].
    pub(crate) fn raw_map(&self, name: &'static str) -> Result<&Map, CounterError> {
        self.0.map(name).ok_or(CounterError::Incomplete(name))
    }

    /// Returns the reading end of a ring buffer. Can be called once per buffer.
    pub(crate) fn ring_buffer(
        &mut self,
        name: &'static str,
    ) -> Result<RingBuf<MapData>, CounterError> {
        self.0
            .take_map(name)
            .ok_or(CounterError::Incomplete(name))?
            .try_into()
            .map_err(|source| map_error(name, source))
    }

    /// Connects the log of the kernel programs to `logger`.
    pub(crate) fn log<T: log::Log>(&mut self, logger: T) -> Result<EbpfLogger<T>, CounterError> {
        EbpfLogger::init_with_logger(&mut self.0, logger).map_err(|error| match error {
            aya_log::Error::MapError(source) => map_error("AYA_LOGS", source),
            _ => CounterError::Incomplete("ring buffer AYA_LOGS"),
        })
    }

    fn each_named(
        &mut self,
        mut act: impl FnMut(&str, &mut Program) -> Result<(), ProgramError>,
    ) -> Result<(), CounterError> {
        self.0.programs_mut().try_for_each(|(name, program)| {
            act(name, program).map_err(|source| program_error(name, source))
        })
    }
}

/// Verifies and loads one program. If the kernel rejects an optional program, this is logged.
fn load(name: &str, program: &mut Program) -> Result<(), ProgramError> {
    let loaded = match program {
        Program::CgroupSkb(program) => program.load(),
        Program::SockOps(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    };
    match loaded {
        Err(ProgramError::LoadError {
            io_error,
            verifier_log,
        }) if object::is_optional(name) && !object::is_substitute(name) => {
            tracing::info!(
                program = name,
                %io_error,
                "this kernel cannot run the program, which needs Linux 5.17; packets with very many chunks or frames \
                 make their connection opaque"
            );
            tracing::debug!("{verifier_log}");
            Ok(())
        }
        loaded => loaded,
    }
}

/// Returns the error for a program that the kernel rejects.
pub(crate) fn program_error(name: &str, source: ProgramError) -> CounterError {
    if !nix::unistd::geteuid().is_root() {
        return CounterError::NotPermitted;
    }
    let reason = match source {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            tracing::debug!(program = name, %verifier_log, "refused by the verifier");
            format!("refused by the verifier ({io_error})")
        }
        source => source.to_string(),
    };
    CounterError::Program {
        name: name.to_owned(),
        reason,
    }
}

/// Returns the error for a map that cannot be used.
pub(crate) fn map_error(name: &'static str, source: MapError) -> CounterError {
    CounterError::Map {
        name,
        source: Box::new(source),
    }
}
