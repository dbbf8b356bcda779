//! Chance, the same for the same seed on every machine: libraries differ in the last digit of a logarithm, so there is one here.

use crate::clock::Nanos;

/// A generator of pseudo-random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// What follows from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between 0 and 1, and neither.
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// The time to the next of events that come independently of each other, so many a second.
    pub fn gap(&mut self, a_second: f64) -> Nanos {
        (-ln(self.uniform()) * 1e9 / a_second) as Nanos
    }

    /// A time of this distribution.
    pub fn time(&mut self, of: Spread) -> Nanos {
        // Nearly normal: the sum of twelve has the variance 1.
        let normal = (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0;
        (of.median as f64 * exp(of.sigma * normal)) as Nanos
    }
}

/// How long something takes: log-normal, by its median and its 99th percentile.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    median: Nanos,
    sigma: f64,
}

impl Spread {
    /// Half of the times are shorter than the one, and one of a hundred is longer than the other.
    pub fn new(median: Nanos, p99: Nanos) -> Self {
        /// Of the normal distribution.
        const AT_99: f64 = 2.326;
        Self { median, sigma: ln(p99 as f64 / median as f64) / AT_99 }
    }

    /// Always the same.
    pub fn always(time: Nanos) -> Self {
        Self { median: time, sigma: 0.0 }
    }
}

/// The natural logarithm of a positive number, by sums and products alone.
fn ln(number: f64) -> f64 {
    let (mut mantissa, mut exponent) = (number, 0.0);
    while mantissa > 1.5 {
        (mantissa, exponent) = (mantissa / 2.0, exponent + 1.0);
    }
    while mantissa < 0.75 {
        (mantissa, exponent) = (mantissa * 2.0, exponent - 1.0);
    }
    let root = (mantissa - 1.0) / (mantissa + 1.0);
    let (mut sum, mut power) = (0.0, root);
    for n in 0..16 {
        sum += power / f64::from(2 * n + 1);
        power *= root * root;
    }
    2.0 * sum + exponent * std::f64::consts::LN_2
}

/// e to the power of a number, by sums and products alone.
fn exp(number: f64) -> f64 {
    let small = number / 1024.0;
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..10 {
        term *= small / f64::from(n);
        sum += term;
    }
    for _ in 0..10 {
        sum *= sum;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_power_are_those_of_the_library_but_for_the_last_digits() {
        for number in [1e-16, 0.01, 0.5, 0.75, 1.0, 1.5, 3.0, 1e6] {
            assert!((ln(number) - number.ln()).abs() < 1e-12 * number.ln().abs().max(1.0), "{number}");
        }
        for number in [-6.0, -0.5, 0.0, 1.0, 6.0] {
            assert!((exp(number) / number.exp() - 1.0).abs() < 1e-11, "{number}");
        }
    }

    #[test]
    fn times_have_the_percentiles_that_were_asked_for() {
        let mut random = Random::new(1);
        let mut times: Vec<Nanos> = (0..100_000).map(|_| random.time(Spread::new(10_000, 40_000))).collect();
        times.sort_unstable();
        assert!((9_800..10_200).contains(&times[50_000]), "{}", times[50_000]);
        assert!((37_000..43_000).contains(&times[99_000]), "{}", times[99_000]);
        let mean = (0..100_000).map(|_| random.gap(1_000.0)).sum::<Nanos>() / 100_000;
        assert!((980_000..1_020_000).contains(&mean), "{mean}");
    }
}
