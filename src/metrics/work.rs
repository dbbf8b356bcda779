//! What a process is there for, by which it shows some figures and others not: nobody is to take a relay for a loader that loads
//! nothing.

use std::sync::Arc;

/// Which processes show a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All.
    Process,
    /// Those that load.
    Loader,
    /// Those that carry events on: with the label `sink`.
    Relay,
    /// Those that serve the console.
    Console,
}

/// What a process is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// It loads.
    pub loads: bool,
    /// It carries events on, to the sink of this name.
    pub relays_to: Option<Arc<str>>,
    /// It serves the console.
    pub serves_console: bool,
}

impl Work {
    /// A loader's.
    pub fn loading() -> Self {
        Self { loads: true, relays_to: None, serves_console: false }
    }

    /// A relay's, to the sink of this name.
    pub fn relaying(sink: &str) -> Self {
        Self { loads: false, relays_to: Some(sink.into()), serves_console: false }
    }

    /// The console's.
    pub fn serving_console() -> Self {
        Self { loads: false, relays_to: None, serves_console: true }
    }

    /// Both.
    pub fn and_relaying(self, sink: &str) -> Self {
        Self { relays_to: Some(sink.into()), ..self }
    }

    /// Whether figures of this part are shown.
    pub fn has(&self, part: Part) -> bool {
        match part {
            Part::Process => true,
            Part::Loader => self.loads,
            Part::Relay => self.relays_to.is_some(),
            Part::Console => self.serves_console,
        }
    }

    /// The labels that every sample of this part bears besides its own.
    pub fn labels_of(&self, part: Part) -> Vec<(&'static str, &str)> {
        let sink = self.relays_to.iter().filter(|_| part == Part::Relay);
        sink.map(|sink| ("sink", &**sink)).collect()
    }

    /// The process, as a word for people.
    pub fn word(&self) -> &'static str {
        match (self.loads, self.serves_console) {
            (true, _) => "loader",
            (false, false) => "relay",
            (false, true) => "console",
        }
    }

    /// What two processes are there for together.
    pub(super) fn with(&self, other: &Self) -> Self {
        let relays_to = self.relays_to.clone().or_else(|| other.relays_to.clone());
        let serves_console = self.serves_console || other.serves_console;
        Self { loads: self.loads || other.loads, relays_to, serves_console }
    }
}
