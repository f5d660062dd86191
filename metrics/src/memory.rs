//! Memory that is free again, and is kept for later by the allocator.

/// Gives it back to the system: for after work that takes much and is not soon done again. Looks at the whole heap, which
/// takes milliseconds.
///
/// glibc gives memory back by itself only from the end of its heap, where something small that lives on is enough to keep
/// all that is before it. Other C libraries do better, or have no such call, and are left alone.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time from any thread.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
