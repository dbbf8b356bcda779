//! Visits every state of a world, and says what it saw.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use stateright::{Checker, Expectation, Model};

use crate::properties::ALWAYS;
use crate::protocol::{Action, State};
use crate::world::World;

/// What was seen of a world, all of which was visited.
#[derive(Debug)]
pub struct Explored {
    /// How many different states it has, told apart by 64 bits of a hash. Two that differ only in which lane is which
    /// count as one.
    pub states: usize,
    /// How many steps lead from one of them to another.
    pub steps: usize,
    /// The properties of [`ALWAYS`] that some state breaks, in their order there.
    pub broken: Vec<&'static str>,
    /// What should be reached in some state, and is not.
    pub unreached: Vec<&'static str>,
}

/// Visits every state of a world, on so many threads.
pub fn explore(world: World, threads: usize) -> Explored {
    let checker = world.checker().threads(threads).symmetry_fn(State::with_sorted_lanes).spawn_dfs().join();
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

/// One of the shortest ways to a state that breaks a property of [`ALWAYS`]: where it starts, and what happens.
pub fn shortest_way_to_break(world: World, property: &str) -> Option<(State, Vec<Action>)> {
    let (_, holds) = ALWAYS.into_iter().find(|(name, _)| *name == property)?;
    // Each state with the one before it, by its place in the list.
    let mut ways: Vec<(usize, Option<Action>)> = Vec::new();
    let mut seen: HashSet<u64> = HashSet::new();
    let mut next: VecDeque<(usize, State)> = VecDeque::new();
    let mut add = |state: State, from: usize, action, next: &mut VecDeque<_>, ways: &mut Vec<_>| {
        if seen.insert(fingerprint(&state)) {
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

fn way_to(world: &World, ways: &[(usize, Option<Action>)], end: usize) -> (State, Vec<Action>) {
    let mut place = end;
    let mut actions = Vec::new();
    while let (before, Some(action)) = ways[place] {
        actions.push(action);
        place = before;
    }
    actions.reverse();
    // The first states stand first in the list, those that are the same but for their lanes only once.
    let mut seen = HashSet::new();
    let start = world.init_states().into_iter().filter(|start| seen.insert(fingerprint(start))).nth(place);
    (start.unwrap_or_default(), actions)
}

/// Whether some path of a world comes back to where it was. Where none does, each path ends in a state in which
/// nothing moves; "sooner or later" is then a property of these states.
pub fn has_endless_path(world: World) -> bool {
    let mut is_on_path: HashMap<u64, bool> = HashMap::new();
    for start in world.init_states() {
        if !is_on_path.contains_key(&fingerprint(&start)) && returns(&world, start, &mut is_on_path) {
            return true;
        }
    }
    false
}

fn returns(world: &World, start: State, is_on_path: &mut HashMap<u64, bool>) -> bool {
    is_on_path.insert(fingerprint(&start), true);
    let mut path = vec![(fingerprint(&start), world.next_states(&start))];
    while let Some((state, next)) = path.last_mut() {
        let Some(step) = next.pop() else {
            is_on_path.insert(*state, false);
            path.pop();
            continue;
        };
        let name = fingerprint(&step);
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

fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.with_sorted_lanes().hash(&mut hasher);
    hasher.finish()
}
