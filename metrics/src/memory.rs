//! Free memory that the allocator keeps for later use.

/// Returns free memory to the operating system. The call is useful after work that uses much memory and is seldom
/// repeated. It walks the whole heap, which takes milliseconds.
///
/// glibc returns memory by itself only from the end of its heap: one small long-lived allocation at the end keeps all
/// memory before it. Other C libraries return more memory by themselves, or have no such function. With another C
/// library, this function does nothing.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time from any thread.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
