//! How often a password may be tried: after some failures, each further attempt of a role must wait longer; after many of
//! all roles, so must those of everybody.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How many failures of a role are free.
const FREE: u32 = 5;
/// The longest that a role waits between two attempts.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a failure is remembered.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);
/// How many failures of all roles are free.
const FREE_OF_ALL: u32 = 100;
/// How long everybody waits between two attempts after that.
const WAIT_OF_ALL: Duration = Duration::from_secs(2);
/// The most roles that are remembered. Who makes up more of them has to do with the limit of all.
const ROLES: usize = 10_000;

/// The failures of a while.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    of_roles: HashMap<String, Failures>,
    of_all: Option<Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    number: u32,
    last: Instant,
}

impl Attempts {
    /// Counts an attempt as failed until it has [`succeeded`](Self::succeeded): ten at the same moment count as ten.
    ///
    /// # Errors
    ///
    /// How long to wait. What is refused is not counted.
    pub(super) fn begin(&mut self, role: &str, now: Instant) -> Result<(), Duration> {
        let is_remembered = |failures: &Failures| now.duration_since(failures.last) < REMEMBERED;
        self.of_roles.retain(|_, failures| is_remembered(failures));
        self.of_all = self.of_all.filter(is_remembered);
        let of_role =
            self.of_roles.get(role).map_or(Duration::ZERO, |failures| failures.left(pause(failures.number), now));
        let of_all = self.of_all.filter(|failures| failures.number >= FREE_OF_ALL);
        let of_all = of_all.map_or(Duration::ZERO, |failures| failures.left(WAIT_OF_ALL, now));
        let wait = of_role.max(of_all);
        if !wait.is_zero() {
            return Err(wait);
        }
        if self.of_roles.len() < ROLES || self.of_roles.contains_key(role) {
            let failures = self.of_roles.entry(role.to_owned()).or_insert(Failures { number: 0, last: now });
            *failures = Failures { number: failures.number.saturating_add(1), last: now };
        }
        let number = self.of_all.map_or(0, |failures| failures.number);
        self.of_all = Some(Failures { number: number.saturating_add(1), last: now });
        Ok(())
    }

    /// Takes an attempt back that says nothing of the password.
    pub(super) fn taken_back(&mut self, role: &str) {
        let less = |failures: Failures| Failures { number: failures.number.saturating_sub(1), ..failures };
        self.of_roles.entry(role.to_owned()).and_modify(|failures| *failures = less(*failures));
        self.of_all = self.of_all.map(less);
    }

    /// Forgets the failures of a role, which knows its password.
    pub(super) fn succeeded(&mut self, role: &str) {
        self.of_roles.remove(role);
        self.of_all = self.of_all.map(|failures| Failures { number: failures.number.saturating_sub(1), ..failures });
    }
}

impl Failures {
    fn left(&self, pause: Duration, now: Instant) -> Duration {
        pause.saturating_sub(now.duration_since(self.last))
    }
}

/// How long a role waits after so many failures: 1 s, 2 s, 4 s, up to a minute.
fn pause(failures: u32) -> Duration {
    match failures.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(1 << more.min(6)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_role_waits_longer_after_each_failure_and_another_role_does_not() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..5 {
            assert_eq!(attempts.begin("alice", now), Ok(()));
        }
        assert_eq!(attempts.begin("alice", now), Err(SECOND));
        assert_eq!(attempts.begin("bob", now), Ok(()));
        assert_eq!(attempts.begin("alice", now + SECOND), Ok(()));
        assert_eq!(attempts.begin("alice", now + SECOND), Err(SECOND * 2));
        assert_eq!(attempts.begin("alice", now + SECOND * 2), Err(SECOND));
        assert_eq!(pause(100), LONGEST);
    }

    #[test]
    fn who_knows_the_password_does_not_wait_and_what_is_long_ago_is_forgotten() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..5 {
            attempts.begin("alice", now).unwrap();
        }
        attempts.succeeded("alice");
        assert_eq!(attempts.begin("alice", now), Ok(()));
        for _ in 0..4 {
            attempts.begin("alice", now).unwrap();
        }
        assert!(attempts.begin("alice", now).is_err());
        assert_eq!(attempts.begin("alice", now + REMEMBERED), Ok(()));
    }

    #[test]
    fn many_failures_of_many_roles_slow_everybody() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..FREE_OF_ALL {
            attempts.begin(&format!("role {number}"), now).unwrap();
        }
        assert_eq!(attempts.begin("alice", now), Err(WAIT_OF_ALL));
        assert_eq!(attempts.begin("alice", now + WAIT_OF_ALL), Ok(()));
    }
}
