//! Waiting times between tries: exponential, capped, with full jitter. Pure: the dice are an argument.

use std::time::Duration;

/// How long to wait before the next try.
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits of up to `initial`, doubling to at most `max`.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max: max.max(initial), failures: 0 }
    }

    /// The wait after one more failure: anything between nothing and the current ceiling. `dice` is in `0.0..1.0`.
    pub fn next(&mut self, dice: f64) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(dice.clamp(0.0, 1.0))
    }

    /// How many failures there were in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).filter(|_| self.failures < 31);
        factor.and_then(|factor| self.initial.checked_mul(factor)).unwrap_or(self.max).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn ceilings_double_to_the_cap_and_never_overflow() {
        let mut backoff = Backoff::new(S, S * 30);
        let ceilings: Vec<u64> = (0..8).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 30, 30, 30]);
        for _ in 0..100 {
            assert_eq!(backoff.next(1.0), S * 30);
        }
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        assert_eq!(backoff.next(0.5), S * 15);
    }
}
