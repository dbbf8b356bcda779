//! What a figure is made of: labels with a closed set of values, counters, gauges and histograms.

use std::marker::PhantomData;

use super::reading::Page;

/// A label: its key, and every value that it can have.
pub trait Label {
    /// The key, as it is exported.
    const KEY: &'static str;
    /// Every value, as it is exported, in the order of [`Self::index`].
    const VALUES: &'static [&'static str];

    /// Which of the values this is.
    fn index(&self) -> usize;

    /// The value, as it is exported.
    fn word(&self) -> &'static str {
        Self::VALUES.get(self.index()).copied().unwrap_or_default()
    }
}

/// The labels of a family: none, one or two.
pub trait Labels {
    /// The keys and their values.
    const EACH: &'static [(&'static str, &'static [&'static str])];

    /// Which of the combinations this is; the last label runs fastest.
    fn index(&self) -> usize;
}

impl Labels for () {
    const EACH: &'static [(&'static str, &'static [&'static str])] = &[];

    fn index(&self) -> usize {
        0
    }
}

impl<L: Label> Labels for (L,) {
    const EACH: &'static [(&'static str, &'static [&'static str])] = &[(L::KEY, L::VALUES)];

    fn index(&self) -> usize {
        self.0.index()
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    const EACH: &'static [(&'static str, &'static [&'static str])] = &[(A::KEY, A::VALUES), (B::KEY, B::VALUES)];

    fn index(&self) -> usize {
        self.0.index() * B::VALUES.len() + self.1.index()
    }
}

/// A label and its values, each said once.
macro_rules! label {
    ($(#[$doc:meta])+ $seen:vis $name:ident as $key:literal { $($(#[$value_doc:meta])+ $value:ident = $word:literal,)+ }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $seen enum $name { $($(#[$value_doc])+ $value,)+ }

        impl $name {
            /// Every value.
            $seen const ALL: &'static [Self] = &[$(Self::$value,)+];

            /// The value of this word, where there is one.
            #[allow(dead_code, reason = "some labels are only written")]
            $seen fn named(word: &str) -> Option<Self> {
                let words = <Self as $crate::metrics::figure::Label>::VALUES;
                words.iter().position(|known| *known == word).and_then(|at| Self::ALL.get(at).copied())
            }
        }

        impl $crate::metrics::figure::Label for $name {
            const KEY: &'static str = $key;
            const VALUES: &'static [&'static str] = &[$($word,)+];

            fn index(&self) -> usize {
                *self as usize
            }
        }
    };
}
pub(super) use label;

/// What a figure is, as Prometheus calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from zero at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often something lay below each of its bounds.
    Histogram,
}

/// One number of a family, or one histogram.
pub trait Cell: Default + Clone {
    /// What it is.
    const KIND: Kind;

    /// What it shows; nothing where it is not known.
    fn sample(&self) -> Option<Sample>;

    /// Takes back what [`Self::sample`] shows; nothing where it is not shown.
    fn read(shown: &Shown<'_>) -> Option<Self>;

    /// What has come since an earlier state of the same cell. A gauge is what it is.
    fn since(&self, earlier: &Self) -> Self;

    /// Whether this can be a later state of the same cell: no count has fallen.
    fn follows(&self, earlier: &Self) -> bool;

    /// What two processes have counted together. Gauges do not add up by themselves: the value is unknown.
    fn with(&self, other: &Self) -> Self;
}

/// The value that a page shows of a cell, as text: by what ends the name (`_sum`), and the bound where it is a bucket's.
pub(super) type Shown<'a> = dyn Fn(&str, Option<f64>) -> Option<&'a str> + 'a;

/// What a cell shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// A count.
    Count(u64),
    /// A count of seconds.
    Seconds(f64),
    /// A value.
    Value(f64),
    /// How many there were, what they are together, and how many lay at or below each bound but above the one before; the
    /// last bound is infinite.
    Buckets(u64, f64, Vec<(f64, u64)>),
}

/// Counts upwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter(u64);

impl Cell for Counter {
    const KIND: Kind = Kind::Counter;

    fn sample(&self) -> Option<Sample> {
        Some(Sample::Count(self.0))
    }

    fn read(shown: &Shown<'_>) -> Option<Self> {
        shown("", None)?.parse().ok().map(Self)
    }

    fn since(&self, earlier: &Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    fn follows(&self, earlier: &Self) -> bool {
        self.0 >= earlier.0
    }

    fn with(&self, other: &Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// A value that may not be known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gauge(Option<f64>);

impl Cell for Gauge {
    const KIND: Kind = Kind::Gauge;

    fn sample(&self) -> Option<Sample> {
        self.0.map(Sample::Value)
    }

    fn read(shown: &Shown<'_>) -> Option<Self> {
        shown("", None)?.parse().ok().map(|value| Self(Some(value)))
    }

    fn since(&self, _: &Self) -> Self {
        *self
    }

    fn follows(&self, _: &Self) -> bool {
        true
    }

    fn with(&self, _: &Self) -> Self {
        Self(None)
    }
}

/// The bounds of a histogram, rising, each above zero; what lies above the last is counted too.
pub trait Bounds: Clone {
    /// The bounds that are exported.
    const BOUNDS: &'static [f64];
}

/// Into how many steps of equal width the space between two bounds is divided, so that a quantile is known more
/// closely than the bounds tell.
const STEPS: usize = 10;

/// How often values lay between its bounds.
#[derive(Clone, Debug)]
pub struct Histogram<B> {
    /// Each step below each bound, and what lies above the last.
    steps: Vec<u64>,
    sum: f64,
    /// Whether only the buckets are known, as a page shows them: each has its count in its last step.
    is_coarse: bool,
    bounds: PhantomData<B>,
}

impl<B: Bounds> Default for Histogram<B> {
    fn default() -> Self {
        Self { steps: vec![0; B::BOUNDS.len() * STEPS + 1], sum: 0.0, is_coarse: false, bounds: PhantomData }
    }
}

impl<B: Bounds> Histogram<B> {
    /// Counts a value.
    pub fn observe(&mut self, value: f64) {
        let value = value.max(0.0);
        let bucket = B::BOUNDS.partition_point(|bound| *bound < value);
        let step = match B::BOUNDS.get(bucket) {
            None => B::BOUNDS.len() * STEPS,
            Some(upper) => {
                let (lower, width) = Self::step_from(bucket, *upper);
                // A value at the lower edge of a step belongs to the one below, as one at a bound does.
                let within = (((value - lower) / width).ceil() as usize).clamp(1, STEPS) - 1;
                bucket * STEPS + within
            }
        };
        if let Some(count) = self.steps.get_mut(step) {
            *count += 1;
        }
        self.sum += value;
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.steps.iter().sum()
    }

    /// What the values are on average. Nothing where there is no value.
    pub fn mean(&self) -> Option<f64> {
        Some(self.count()).filter(|count| *count > 0).map(|count| self.sum / count as f64)
    }

    /// The value that this share of all does not exceed, to the width of a step; above the last bound, that bound. Nothing
    /// where there is no value.
    ///
    /// Of a histogram that was read from a page, only the buckets are known: the values of a bucket are taken to lie evenly
    /// between its bounds, as Prometheus takes them, and a single one at the upper.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut below = 0;
        let (step, count) = self.steps.iter().enumerate().find(|(_, count)| {
            below += **count;
            below >= rank
        })?;
        below -= count;
        let bucket = step / STEPS;
        let Some(upper) = B::BOUNDS.get(bucket) else { return B::BOUNDS.last().copied() };
        let (lower, width) = Self::step_from(bucket, *upper);
        Some(match self.is_coarse {
            true => lower + (upper - lower) * ((rank - below) as f64 / *count as f64),
            false => lower + width * (step % STEPS + 1) as f64,
        })
    }

    fn joined(&self, other: &Self, join: impl Fn((&u64, &u64)) -> u64, sum: f64) -> Self {
        let steps = self.steps.iter().zip(&other.steps).map(join).collect();
        Self { steps, sum, is_coarse: self.is_coarse || other.is_coarse, bounds: PhantomData }
    }

    /// Where a bucket begins, and how wide its steps are.
    fn step_from(bucket: usize, upper: f64) -> (f64, f64) {
        let lower = bucket.checked_sub(1).and_then(|below| B::BOUNDS.get(below)).copied().unwrap_or_default();
        (lower, (upper - lower) / STEPS as f64)
    }
}

impl<B: Bounds> Cell for Histogram<B> {
    const KIND: Kind = Kind::Histogram;

    fn sample(&self) -> Option<Sample> {
        let bounds = B::BOUNDS.iter().copied().chain([f64::INFINITY]);
        let counts = self.steps.chunks(STEPS).map(|steps| steps.iter().sum());
        Some(Sample::Buckets(self.count(), self.sum, bounds.zip(counts).collect()))
    }

    fn read(shown: &Shown<'_>) -> Option<Self> {
        let mut read = Self { sum: shown("_sum", None)?.parse().ok()?, is_coarse: true, ..Self::default() };
        let mut below = 0;
        for (bucket, bound) in B::BOUNDS.iter().copied().chain([f64::INFINITY]).enumerate() {
            let up_to: u64 = shown("_bucket", Some(bound))?.parse().ok()?;
            let last_step = (bucket * STEPS + STEPS - 1).min(B::BOUNDS.len() * STEPS);
            *read.steps.get_mut(last_step)? = up_to.checked_sub(below)?;
            below = up_to;
        }
        Some(read)
    }

    fn since(&self, earlier: &Self) -> Self {
        let less = |(now, before): (&u64, &u64)| now.saturating_sub(*before);
        self.joined(earlier, less, self.sum - earlier.sum)
    }

    fn follows(&self, earlier: &Self) -> bool {
        self.steps.iter().zip(&earlier.steps).all(|(now, before)| now >= before)
    }

    fn with(&self, other: &Self) -> Self {
        self.joined(other, |(one, other)| one.saturating_add(*other), self.sum + other.sum)
    }
}

/// A cell for each combination of labels, all of them there from the start.
#[derive(Clone, Debug)]
pub struct Family<L, C> {
    cells: Vec<C>,
    /// Whether it counts at all: not if it was read from the page of a program that does not know it.
    is_known: bool,
    labels: PhantomData<L>,
}

impl<L: Labels, C: Cell> Default for Family<L, C> {
    fn default() -> Self {
        let combinations = L::EACH.iter().map(|(_, values)| values.len()).product();
        Self { cells: vec![C::default(); combinations], is_known: true, labels: PhantomData }
    }
}

impl<L: Labels, C: Cell> Family<L, C> {
    /// What has come since an earlier state of the same family.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let cells = self.cells.iter().zip(&earlier.cells).map(|(now, before)| now.since(before)).collect();
        Self { cells, is_known: self.is_known && earlier.is_known, labels: PhantomData }
    }

    /// Whether this can be a later state of the same family.
    pub(super) fn follows(&self, earlier: &Self) -> bool {
        self.cells.iter().zip(&earlier.cells).all(|(now, before)| now.follows(before))
    }

    /// What two processes have counted together.
    pub(super) fn with(&self, other: &Self) -> Self {
        let cells = self.cells.iter().zip(&other.cells).map(|(one, other)| one.with(other)).collect();
        Self { cells, is_known: self.is_known && other.is_known, labels: PhantomData }
    }

    /// The family of this name, as a page shows it: with these labels besides its own.
    pub(super) fn read(page: &Page<'_>, name: &str, more: &[(&str, &str)]) -> Self {
        let mut read = Self { is_known: false, ..Self::default() };
        for (index, cell) in read.cells.iter_mut().enumerate() {
            let labels = [more, &values_of(L::EACH, index)].concat();
            if let Some(shown) = C::read(&|ending, bound| page.value(&format!("{name}{ending}"), &labels, bound)) {
                *cell = shown;
                read.is_known = true;
            }
        }
        read
    }

    /// Whether it counts at all: not if it was read from the page of a program that does not know it.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    fn cell(&mut self, labels: &L) -> Option<&mut C> {
        self.cells.get_mut(labels.index())
    }
}

impl<L: Labels> Family<L, Counter> {
    /// Counts so many more.
    pub fn add(&mut self, labels: L, more: u64) {
        if let Some(Counter(count)) = self.cell(&labels) {
            *count += more;
        }
    }

    /// How many were counted.
    pub fn get(&self, labels: L) -> u64 {
        self.cells.get(labels.index()).map_or(0, |Counter(count)| *count)
    }

    /// How many were counted under all labels together.
    pub fn total(&self) -> u64 {
        self.cells.iter().map(|Counter(count)| count).sum()
    }
}

impl<L: Labels> Family<L, Gauge> {
    /// Sets the value.
    pub fn set(&mut self, labels: L, value: impl Into<f64>) {
        self.is_known = true;
        if let Some(Gauge(gauge)) = self.cell(&labels) {
            *gauge = Some(value.into());
        }
    }

    /// Makes the value unknown.
    pub fn clear(&mut self, labels: L) {
        if let Some(Gauge(gauge)) = self.cell(&labels) {
            *gauge = None;
        }
    }

    /// The value, where it is known.
    pub fn get(&self, labels: L) -> Option<f64> {
        self.cells.get(labels.index()).and_then(|Gauge(value)| *value)
    }
}

impl<L: Labels, B: Bounds> Family<L, Histogram<B>> {
    /// Counts a value.
    pub fn observe(&mut self, labels: L, value: f64) {
        if let Some(histogram) = self.cell(&labels) {
            histogram.observe(value);
        }
    }

    /// The values under these labels.
    pub fn get(&self, labels: L) -> Option<&Histogram<B>> {
        self.cells.get(labels.index())
    }
}

/// A family, whatever it counts.
pub trait Figure {
    /// What it is.
    fn kind(&self) -> Kind;

    /// The keys of its labels, and their values.
    fn labels(&self) -> &'static [(&'static str, &'static [&'static str])];

    /// Every sample with its labels.
    fn samples(&self) -> Vec<(Vec<(&'static str, &'static str)>, Sample)>;
}

impl<L: Labels, C: Cell> Figure for Family<L, C> {
    fn kind(&self) -> Kind {
        C::KIND
    }

    fn labels(&self) -> &'static [(&'static str, &'static [&'static str])] {
        L::EACH
    }

    fn samples(&self) -> Vec<(Vec<(&'static str, &'static str)>, Sample)> {
        let sample = |(index, cell): (usize, &C)| Some((values_of(L::EACH, index), cell.sample()?));
        self.cells.iter().enumerate().filter(|_| self.is_known).filter_map(sample).collect()
    }
}

/// The labels of the combination at this place.
fn values_of(
    labels: &'static [(&'static str, &'static [&'static str])],
    index: usize,
) -> Vec<(&'static str, &'static str)> {
    let mut rest = index;
    let mut values: Vec<_> = labels
        .iter()
        .rev()
        .filter_map(|(key, values)| {
            let value = values.get(rest % values.len())?;
            rest /= values.len();
            Some((*key, *value))
        })
        .collect();
    values.reverse();
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    label! {
        /// A label.
        pub(super) Side as "side" {
            /// One.
            Left = "left",
            /// The other.
            Right = "right",
        }
    }

    label! {
        /// Another.
        pub(super) Part as "part" {
            /// First.
            Head = "head",
            /// Second.
            Body = "body",
            /// Third.
            Tail = "tail",
        }
    }

    #[derive(Clone)]
    struct Lengths;

    impl Bounds for Lengths {
        const BOUNDS: &'static [f64] = &[1.0, 10.0, 100.0];
    }

    #[test]
    fn every_combination_of_labels_is_there_from_the_start_under_its_own_name() {
        let mut family = Family::<(Side, Part), Counter>::default();
        for side in Side::ALL {
            for part in Part::ALL {
                family.add((*side, *part), (10 * side.index() + part.index()) as u64);
            }
        }
        let samples = family.samples();
        assert_eq!(samples.len(), 6);
        assert_eq!(samples[4], (vec![("side", "right"), ("part", "body")], Sample::Count(11)));
        assert_eq!(family.get((Side::Right, Part::Tail)), 12);
    }

    #[test]
    fn a_value_at_a_bound_is_counted_below_it_and_one_above_the_last_is_not_lost() {
        let mut histogram = Histogram::<Lengths>::default();
        [0.0, 1.0, 1.001, 10.0, 100.0, 100.1, -3.0].into_iter().for_each(|value| histogram.observe(value));
        let buckets = vec![(1.0, 3), (10.0, 2), (100.0, 1), (f64::INFINITY, 1)];
        assert!(matches!(histogram.sample(), Some(Sample::Buckets(7, _, found)) if found == buckets));
        assert_eq!(Histogram::<Lengths>::default().quantile(0.5), None, "no value, no latency");
    }

    proptest! {
        #[test]
        fn a_quantile_is_right_to_a_step_and_a_difference_knows_the_later_values_only(
            before in prop::collection::vec(0.0..200.0f64, 0..50),
            mut after in prop::collection::vec(0.0..100.0f64, 1..50),
            share in 0.01..1.0f64,
        ) {
            let mut histogram = Histogram::<Lengths>::default();
            before.iter().for_each(|value| histogram.observe(*value));
            let earlier = histogram.clone();
            after.iter().for_each(|value| histogram.observe(*value));
            let difference = histogram.since(&earlier);
            prop_assert_eq!(difference.count(), after.len() as u64);
            after.sort_by(f64::total_cmp);
            let rank = ((after.len() as f64 * share).ceil() as usize).max(1);
            let (exact, found) = (after[rank - 1], difference.quantile(share).unwrap());
            let bucket = Lengths::BOUNDS.partition_point(|bound| *bound < exact);
            let (_, width) = Histogram::<Lengths>::step_from(bucket, Lengths::BOUNDS[bucket]);
            prop_assert!(found >= exact - 1e-9 && found <= exact + width + 1e-9, "{} for {}", found, exact);
        }
    }
}
