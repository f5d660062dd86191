//! Comparisons without branches. The verifier follows both paths of a branch. A search through many places would have
//! too many paths, so these functions compute the result of a comparison as a number.

/// Returns 1 if a number is not 0, else 0.
#[inline(always)]
pub(crate) fn some(number: u32) -> u64 {
    opaque(0u64.wrapping_sub(u64::from(number))) >> 63
}

/// Returns 1 if `one` is below `other`, else 0.
#[inline(always)]
pub(crate) fn below(one: u32, other: u32) -> u64 {
    opaque(u64::from(one).wrapping_sub(u64::from(other))) >> 63
}

/// Hides the compiler's knowledge of a number, also that it is 0 or 1. Otherwise the compiler would understand the
/// arithmetic with the number, and turn it into branches.
#[inline(always)]
pub(crate) fn opaque(number: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut number = number;
        // SAFETY: the instruction copies a register to itself.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack)) };
        number
    }
    #[cfg(not(target_arch = "bpf"))]
    number
}
