//! What it costs: list prices of us-east-1 on demand, as they were published in the first half of 2026, rounded. They are here to
//! compare the parts with each other. Look them up before you buy.

/// Hours of a month.
pub const HOURS: f64 = 730.0;
/// Seconds of a month.
const SECONDS: f64 = HOURS * 3_600.0;

/// A million calls to a standard queue, of a month's first hundred billion, of the next, and of the rest.
const SQS: [f64; 3] = [0.40, 0.30, 0.24];
/// Millions of calls after which the next price holds.
const SQS_STEP: f64 = 100_000.0;
/// A virtual core of Fargate on ARM for an hour, and a gigabyte of its memory.
const FARGATE: (f64, f64) = (0.0324, 0.0036);
/// A virtual core of a general-purpose instance of RDS for PostgreSQL for an hour, its 4 GiB of memory included. Approximate.
const RDS: f64 = 0.084;
/// A gigabyte of its disk (gp3) for a month.
const DISK: f64 = 0.115;
/// A megabyte a second that the disk shall write beyond what comes with it, for a month. Approximate.
const DISK_SPEED: f64 = 0.08;
/// What comes with it, in megabytes a second.
const DISK_SPEED_INCLUDED: f64 = 500.0;

/// Dollars of a month for so many calls a second.
pub fn calls(a_second: f64) -> f64 {
    let mut millions = a_second * SECONDS / 1e6;
    let mut dollars = 0.0;
    for price in SQS {
        let step = if price == SQS[2] { millions } else { millions.min(SQS_STEP) };
        dollars += step * price;
        millions -= step;
    }
    dollars
}

/// Dollars of a month for so many loaders of so many cores and gigabytes.
pub fn loaders(loaders: usize, cores: f64, gigabytes: f64) -> f64 {
    loaders as f64 * HOURS * (cores * FARGATE.0 + gigabytes * FARGATE.1)
}

/// Dollars of a month for a database of so many cores, whose disk writes so many bytes a second.
pub fn database(cores: f64, disk: f64) -> f64 {
    cores * RDS * HOURS + (disk / 1e6 - DISK_SPEED_INCLUDED).max(0.0) * DISK_SPEED
}

/// Dollars of a month for so many bytes on its disk.
pub fn disk(bytes: f64) -> f64 {
    bytes / 1e9 * DISK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_get_cheaper_beyond_a_hundred_billion_a_month() {
        let of_millions = |millions: f64| calls(millions * 1e6 / SECONDS).round();
        assert_eq!(of_millions(10.0), 4.0);
        assert_eq!(of_millions(100_000.0), 40_000.0);
        assert_eq!(of_millions(250_000.0), 40_000.0 + 30_000.0 + 12_000.0);
    }
}
