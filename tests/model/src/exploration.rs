//! Visits every state of a world, and says what it saw.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use stateright::{Checker, Expectation, Model, Property};

/// The name of a property, and whether a state of a world has it.
pub type Always<W> = (&'static str, fn(&W, &<W as Model>::State) -> bool);

/// What is to be reached, in which worlds that is possible, and whether a state is it.
pub type Sometimes<W> = (&'static str, fn(&W) -> bool, fn(&W, &<W as Model>::State) -> bool);

/// What can be explored: a world of one of the models.
pub trait Explorable:
    Model<
        State: Clone + Debug + Default + Hash + PartialEq + Send + Sync,
        Action: Copy + Debug + PartialEq + Send + Sync,
    > + Copy
    + Send
    + Sync
    + 'static
{
    /// What holds in every state of every world, by its name.
    const ALWAYS: &'static [Always<Self>];
    /// What is reached in some state of each world in which it is possible.
    const SOMETIMES: &'static [Sometimes<Self>];

    /// The one state that stands for all that differ from this one only in which of two like parts is which.
    fn representative(state: &Self::State) -> Self::State;

    /// What happens by itself: neither a fault nor the operator.
    fn moves(&self, state: &Self::State, moves: &mut Vec<Self::Action>);
}

/// The properties of a world.
pub(crate) fn properties_of<W: Explorable>(world: &W) -> Vec<Property<W>> {
    let always = W::ALWAYS.iter().map(|(name, condition)| Property::always(name, *condition));
    let possible = W::SOMETIMES.iter().filter(|(_, applies, _)| applies(world));
    always.chain(possible.map(|(name, _, condition)| Property::sometimes(name, *condition))).collect()
}

/// Nothing moves by itself: only a fault or the operator could change anything. It also holds where somebody waits for
/// ever.
pub(crate) fn is_at_rest<W: Explorable>(world: &W, state: &W::State) -> bool {
    let mut moves = Vec::new();
    world.moves(state, &mut moves);
    moves.is_empty()
}

/// What was seen of a world, all of which was visited.
#[derive(Debug)]
pub struct Explored {
    /// How many different states it has, told apart by 64 bits of a hash. Two that differ only in which lane, or
    /// relay, is which count as one.
    pub states: usize,
    /// How many steps lead from one of them to another.
    pub steps: usize,
    /// The properties of [`Explorable::ALWAYS`] that some state breaks, in their order there.
    pub broken: Vec<&'static str>,
    /// What should be reached in some state, and is not.
    pub unreached: Vec<&'static str>,
}

/// Visits every state of a world, on so many threads.
pub fn explore<W: Explorable>(world: W, threads: usize) -> Explored {
    let checker = world.checker().threads(threads).symmetry_fn(W::representative).spawn_dfs().join();
    let found = checker.discoveries();
    let mut explored = Explored {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        broken: Vec::new(),
        unreached: Vec::new(),
    };
    for property in world.properties() {
        match (property.expectation, found.contains_key(property.name)) {
            (Expectation::Always | Expectation::Eventually, true) => explored.broken.push(property.name),
            (Expectation::Sometimes, false) => explored.unreached.push(property.name),
            (Expectation::Always | Expectation::Eventually, false) | (Expectation::Sometimes, true) => {}
        }
    }
    explored
}

/// One of the shortest ways to a state that breaks a property of [`Explorable::ALWAYS`]: where it starts, and what
/// happens.
pub fn shortest_way_to_break<W: Explorable>(world: W, property: &str) -> Option<(W::State, Vec<W::Action>)> {
    let (_, holds) = W::ALWAYS.iter().find(|(name, _)| *name == property)?;
    // Each state with the one before it, by its place in the list.
    let mut ways: Vec<(usize, Option<W::Action>)> = Vec::new();
    let mut seen: HashSet<u64> = HashSet::new();
    let mut next: VecDeque<(usize, W::State)> = VecDeque::new();
    let mut add = |state: W::State, from: usize, action, next: &mut VecDeque<_>, ways: &mut Vec<_>| {
        if seen.insert(fingerprint::<W>(&state)) {
            next.push_back((ways.len(), state));
            ways.push((from, action));
        }
    };
    world.init_states().into_iter().for_each(|start| add(start, usize::MAX, None, &mut next, &mut ways));
    while let Some((place, state)) = next.pop_front() {
        if !holds(&world, &state) {
            return Some(way_to(&world, &ways, place));
        }
        let mut actions = Vec::new();
        world.actions(&state, &mut actions);
        for action in actions {
            if let Some(step) = world.next_state(&state, action) {
                add(step, place, Some(action), &mut next, &mut ways);
            }
        }
    }
    None
}

fn way_to<W: Explorable>(world: &W, ways: &[(usize, Option<W::Action>)], end: usize) -> (W::State, Vec<W::Action>) {
    let mut place = end;
    let mut actions = Vec::new();
    while let (before, Some(action)) = ways[place] {
        actions.push(action);
        place = before;
    }
    actions.reverse();
    // The first states stand first in the list, those that are the same but for their lanes only once.
    let mut seen = HashSet::new();
    let start = world.init_states().into_iter().filter(|start| seen.insert(fingerprint::<W>(start))).nth(place);
    (start.unwrap_or_default(), actions)
}

/// Whether some path of a world comes back to where it was. Where none does, each path ends in a state in which
/// nothing moves; "sooner or later" is then a property of these states.
pub fn has_endless_path<W: Explorable>(world: W) -> bool {
    let mut is_on_path: HashMap<u64, bool> = HashMap::new();
    for start in world.init_states() {
        if !is_on_path.contains_key(&fingerprint::<W>(&start)) && returns(&world, start, &mut is_on_path) {
            return true;
        }
    }
    false
}

fn returns<W: Explorable>(world: &W, start: W::State, is_on_path: &mut HashMap<u64, bool>) -> bool {
    is_on_path.insert(fingerprint::<W>(&start), true);
    let mut path = vec![(fingerprint::<W>(&start), world.next_states(&start))];
    while let Some((state, next)) = path.last_mut() {
        let Some(step) = next.pop() else {
            is_on_path.insert(*state, false);
            path.pop();
            continue;
        };
        let name = fingerprint::<W>(&step);
        match is_on_path.get(&name) {
            Some(true) => return true,
            Some(false) => {}
            None => {
                is_on_path.insert(name, true);
                path.push((name, world.next_states(&step)));
            }
        }
    }
    false
}

fn fingerprint<W: Explorable>(state: &W::State) -> u64 {
    let mut hasher = DefaultHasher::new();
    W::representative(state).hash(&mut hasher);
    hasher.finish()
}
