//! Small sets of small numbers: what keeps a state short enough to hold millions of them.

use std::fmt;

/// A set of numbers below 16: messages, hashes or receipts.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set(u16);

impl Set {
    /// The set of one number.
    pub fn of(number: usize) -> Self {
        assert!(number < 16, "a bound of the model is too large for its sets");
        Self(1 << number)
    }

    /// Whether the number is in it.
    pub fn has(self, number: usize) -> bool {
        !(self & Self::of(number)).is_empty()
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many numbers are in it.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether every number of it is in the other.
    pub fn is_within(self, other: Self) -> bool {
        (self - other).is_empty()
    }

    /// Whether a number is in both.
    pub fn meets(self, other: Self) -> bool {
        !(self & other).is_empty()
    }

    /// Its smallest number.
    pub fn first(self) -> Option<usize> {
        self.iter().next()
    }

    /// Its largest number.
    pub fn last(self) -> Option<usize> {
        self.iter().last()
    }

    /// Every set of some of its numbers, except the empty one.
    pub fn parts(self) -> impl Iterator<Item = Self> {
        (1..=self.0).filter(move |part| part & !self.0 == 0).map(Self)
    }

    /// Its numbers, the smallest first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let number = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (number < 16).then_some(number as usize)
        })
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<T: IntoIterator<Item = usize>>(numbers: T) -> Self {
        numbers.into_iter().fold(Self::default(), |set, number| set | Self::of(number))
    }
}

impl std::ops::BitOr for Set {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Set {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl std::ops::BitAnd for Set {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl std::ops::Sub for Set {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl std::ops::SubAssign for Set {
    fn sub_assign(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
