//! Reproducible chance: a test prints its seed, and `SEED=n` repeats it.

use std::time::{SystemTime, UNIX_EPOCH};

/// xorshift64*: small, and good enough to pick test cases.
pub(crate) struct Random(u64);

impl Random {
    /// Starts from `SEED` or from the clock, and prints which.
    #[expect(
        clippy::print_stdout,
        reason = "whoever sees a failure has to be able to repeat it"
    )]
    pub(crate) fn new() -> Random {
        let clock = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(1, |now| u64::from(now.subsec_nanos()))
        };
        let seed = std::env::var("SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(clock);
        println!("SEED={seed}");
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let limit = u64::try_from(limit).expect("usize fits u64");
        usize::try_from((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit)
            .expect("below a usize")
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}
