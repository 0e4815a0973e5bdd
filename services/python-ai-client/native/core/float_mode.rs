//! The floating-point mode of a thread: whether it rounds denormal numbers to zero.
//!
//! `torch.set_flush_denormal(True)` in a script sets such a mode. The orchestrator never adds in
//! it, so the sums of a worker must not either: otherwise the result would depend on who adds, and
//! so on the number of workers.

/// The thread is in the processor's initial mode (round to nearest, denormal numbers, no
/// exceptions) until this is dropped. Then it is in its earlier mode again.
pub(crate) struct StandardMode {
    #[cfg(target_arch = "x86_64")]
    earlier: u32,
}

#[cfg(target_arch = "x86_64")]
mod register {
    use std::arch::asm;

    /// All exceptions masked, round to nearest, no flushing: as a process starts, and as compilers
    /// assume.
    pub(super) const STANDARD: u32 = 0x1f80;
    /// Denormal results are flushed to zero (FTZ), denormal operands count as zero (DAZ).
    pub(super) const FLUSH: u32 = (1 << 15) | (1 << 6);

    pub(super) fn read() -> u32 {
        let mut value = 0_u32;
        // SAFETY: stores four bytes at the address of `value`.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
        value
    }

    /// Without the option `nomem`, so that no read or write of memory is moved across it: additions
    /// of what is read after it, and written before the next one, happen in this mode.
    pub(super) fn write(value: u32) {
        // SAFETY: `value` is STANDARD or was read from this register: no reserved bit is set.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags))
        };
    }
}

#[cfg(target_arch = "x86_64")]
impl StandardMode {
    pub(crate) fn enter() -> Self {
        let earlier = register::read();
        register::write(register::STANDARD);
        Self { earlier }
    }
}

#[cfg(target_arch = "x86_64")]
impl Drop for StandardMode {
    fn drop(&mut self) {
        register::write(self.earlier);
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl StandardMode {
    pub(crate) fn enter() -> Self {
        Self {}
    }
}

/// Whether the calling thread rounds denormal numbers to zero, as operands or as results.
#[cfg(target_arch = "x86_64")]
pub fn flushes_denormals() -> bool {
    register::read() & register::FLUSH != 0
}

/// Whether the calling thread rounds denormal numbers to zero. Only x86-64 is supported by runs.
#[cfg(not(target_arch = "x86_64"))]
pub fn flushes_denormals() -> bool {
    false
}

/// Sets the mode that `torch.set_flush_denormal(True)` sets, until the result is dropped.
#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) fn flushing() -> StandardMode {
    let guard = StandardMode {
        earlier: register::read(),
    };
    register::write(register::STANDARD | register::FLUSH);
    guard
}
