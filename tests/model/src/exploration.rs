//! Visits every state of a world, and says what it saw.

use std::collections::HashMap;

use stateright::{Checker, Expectation, Model};

use crate::protocol::{Action, State};
use crate::world::World;

/// What was seen of a world, all of which was visited.
#[derive(Debug)]
pub struct Explored {
    /// How many different states it has, told apart by 64 bits of a hash.
    pub states: usize,
    /// How many steps lead from one of them to another.
    pub steps: usize,
    /// The properties of [`ALWAYS`](crate::properties::ALWAYS) that some state breaks, in their order there.
    pub broken: Vec<&'static str>,
    /// What should be reached in some state, and is not.
    pub unreached: Vec<&'static str>,
}

/// Visits every state of a world, on so many threads.
pub fn explore(world: World, threads: usize) -> Explored {
    let checker = world.checker().threads(threads).spawn_dfs().join();
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

/// One of the shortest ways to a state that breaks a property, if there is one within `longest` steps.
pub fn shortest_way_to_break(world: World, property: &'static str, longest: usize) -> Option<Vec<Action>> {
    // The checker keeps the last way that it finds, whatever its length: so the depth is what is searched.
    (1..=longest).find_map(|steps| {
        let checker = world.checker().target_max_depth(steps + 2).spawn_bfs().join();
        checker.discovery(property).map(|way| way.into_actions())
    })
}

/// Whether some path of a world comes back to where it was. Where none does, each path ends in a state in which
/// nothing moves; "sooner or later" is then a property of these states.
pub fn has_endless_path(world: World) -> bool {
    let mut is_on_path: HashMap<State, bool> = HashMap::new();
    for start in world.init_states() {
        let mut path = vec![(start.clone(), world.next_states(&start))];
        is_on_path.insert(start, true);
        while let Some((state, next)) = path.last_mut() {
            let Some(step) = next.pop() else {
                is_on_path.insert(state.clone(), false);
                path.pop();
                continue;
            };
            match is_on_path.get(&step) {
                Some(true) => return true,
                Some(false) => {}
                None => {
                    is_on_path.insert(step.clone(), true);
                    path.push((step.clone(), world.next_states(&step)));
                }
            }
        }
    }
    false
}
