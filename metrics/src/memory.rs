//! Free memory that the allocator keeps for later.

/// Returns free memory to the system. Call it after work that takes much memory and is seldom repeated. It walks the
/// whole heap, which takes milliseconds.
///
/// glibc returns memory by itself only from the end of its heap, where one small long-lived allocation keeps all memory
/// before it. Other C libraries do better or have no such call; for them this does nothing.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time from any thread.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
