//! What is looked at, and what a key makes of it.

use std::cmp::Ordering;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::row::Row;

/// How the screen looks at the loaders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// What the rows are sorted by.
    pub sort: Sort,
    /// Whether the other way round.
    pub is_reversed: bool,
    /// What the names must hold.
    pub filter: String,
    /// Whether the filter is being typed.
    pub is_typing: bool,
    /// Which loader is looked at, by its place among the addresses; none chosen: the first row.
    pub chosen: Option<usize>,
    /// Whether the sum of all is looked at.
    pub is_sum: bool,
    /// Whether the help is shown.
    pub is_help: bool,
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The worst first.
    #[default]
    State,
    /// By name.
    Name,
    /// The most received first.
    Received,
    /// The most loaded first.
    Loaded,
    /// The latest first.
    Lag,
    /// The most in hand first.
    InHand,
    /// The most dead letters first.
    Dead,
}

impl Sort {
    const ALL: [Self; 7] = [Self::State, Self::Name, Self::Received, Self::Loaded, Self::Lag, Self::InHand, Self::Dead];

    /// It in words.
    pub fn word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Name => "loader",
            Self::Received => "in/s",
            Self::Loaded => "load/s",
            Self::Lag => "p99",
            Self::InHand => "hand",
            Self::Dead => "dead",
        }
    }

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or_default();
        Self::ALL.iter().cycle().nth(at + 1).copied().unwrap_or_default()
    }
}

impl View {
    /// The rows that are shown, in their order, by their places.
    pub fn order(&self, rows: &[Row]) -> Vec<usize> {
        let mut shown: Vec<(usize, &Row)> = rows.iter().enumerate().filter(|(_, row)| self.shows(&row.name)).collect();
        shown.sort_by(|(_, one), (_, other)| {
            let compared = self.compare(one, other);
            if self.is_reversed { compared.reverse() } else { compared }
        });
        shown.into_iter().map(|(place, _)| place).collect()
    }

    /// Whether the filter lets a name through.
    pub fn shows(&self, name: &str) -> bool {
        name.contains(&self.filter)
    }

    /// Which of the rows that are shown is looked at.
    pub fn cursor(&self, order: &[usize]) -> Option<usize> {
        let place = self.chosen.filter(|chosen| order.contains(chosen));
        place.or_else(|| order.first().copied())
    }

    /// What a key makes of it, where these rows are shown; none: it is the end.
    pub fn after(mut self, key: KeyEvent, order: &[usize]) -> Option<Self> {
        if key.kind == KeyEventKind::Release {
            return Some(self);
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return (key.code != KeyCode::Char('c')).then_some(self);
        }
        if self.is_typing {
            self.typed(key.code);
            return Some(self);
        }
        match key.code {
            KeyCode::Char('q') => return None,
            KeyCode::Esc if self.is_help => self.is_help = false,
            KeyCode::Esc if !self.filter.is_empty() => self.filter.clear(),
            KeyCode::Esc => return None,
            KeyCode::Char('?' | 'h') => self.is_help = !self.is_help,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('/') => (self.is_typing, self.is_help) = (true, false),
            KeyCode::Char('a') => self.is_sum = !self.is_sum,
            KeyCode::Down | KeyCode::Char('j') => self.step(order, 1),
            KeyCode::Up | KeyCode::Char('k') => self.step(order, -1),
            _ => {}
        }
        Some(self)
    }

    fn typed(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => (self.is_typing, self.filter) = (false, String::new()),
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(character) => self.filter.push(character),
            _ => {}
        }
    }

    fn step(&mut self, order: &[usize], by: isize) {
        self.is_sum = false;
        let at = self.cursor(order).and_then(|cursor| order.iter().position(|place| *place == cursor));
        let to = at.and_then(|at| order.get(at.checked_add_signed(by)?));
        self.chosen = to.copied().or_else(|| self.cursor(order));
    }

    fn compare(&self, one: &Row, other: &Row) -> Ordering {
        // What is not known comes last.
        let most = |of: fn(&Row) -> Option<f64>| {
            let [one, other] = [one, other].map(|row| of(row).unwrap_or(f64::NEG_INFINITY));
            other.total_cmp(&one)
        };
        match self.sort {
            Sort::State => one.state.cmp(&other.state),
            Sort::Name => one.name.cmp(&other.name),
            Sort::Received => most(|row| row.received),
            Sort::Loaded => most(|row| row.loaded),
            Sort::Lag => most(|row| row.p99),
            Sort::InHand => most(|row| row.in_hand.map(|messages| messages as f64)),
            Sort::Dead => most(|row| row.dead.map(|letters| letters as f64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::row::State;
    use crate::top::watched::Watched;
    use crate::top::watched::tests::moment;

    fn rows() -> Vec<Row> {
        let row = |name: &str, state, received, dead| {
            let asked = Row::of(&Watched::new(name), moment());
            Row { state, received, dead, ..asked }
        };
        vec![
            row("10.0.0.1:9464", State::Loading, Some(20.0), Some(1)),
            row("10.0.0.2:9464", State::Away, None, None),
            row("10.0.1.3:9464", State::Idle, Some(0.0), Some(7)),
        ]
    }

    /// The view after these keys; none once it has ended.
    fn after(keys: &str) -> Option<View> {
        keys.chars().try_fold(View::default(), |view, key| {
            let code = match key {
                '⏎' => KeyCode::Enter,
                '⎋' => KeyCode::Esc,
                '⌫' => KeyCode::Backspace,
                '↓' => KeyCode::Down,
                '↑' => KeyCode::Up,
                key => KeyCode::Char(key),
            };
            let order = view.order(&rows());
            view.after(KeyEvent::from(code), &order)
        })
    }

    #[test]
    fn rows_are_sorted_by_what_s_chooses_and_what_is_unknown_comes_last() {
        for (keys, order) in [
            ("", [1, 0, 2]),
            ("r", [2, 0, 1]),
            ("s", [0, 1, 2]),
            ("ss", [0, 2, 1]),
            ("ssssss", [2, 0, 1]),
            ("sssssss", [1, 0, 2]),
        ] {
            assert_eq!(after(keys).unwrap().order(&rows()), order, "{keys:?}");
        }
    }

    #[test]
    fn the_filter_takes_every_letter_until_it_is_entered_and_escape_clears_it() {
        let order = |keys| after(keys).unwrap().order(&rows());
        assert_eq!(order("/0.0.2"), [1]);
        assert_eq!(order("/q?sr⏎"), [0; 0], "letters are no keys while one types");
        assert_eq!(order("/0.0.09⌫⏎r"), [0, 1]);
        assert_eq!(order("/0.1⎋"), [1, 0, 2]);
        assert_eq!(order("/0.1⏎⎋"), [1, 0, 2]);
    }

    #[test]
    fn the_cursor_follows_its_loader_and_the_first_row_until_one_is_chosen() {
        let cursor = |keys| {
            let view = after(keys).unwrap();
            view.cursor(&view.order(&rows()))
        };
        for (keys, at) in [("", 1), ("r", 2), ("↓", 0), ("↓r", 0), ("jj↓", 2), ("j↑k", 1), ("j/1.3⏎", 2), ("/x⏎j⎋", 1)]
        {
            assert_eq!(cursor(keys), Some(at), "{keys:?}");
        }
        assert_eq!(cursor("/nothing"), None);
        assert!(after("a").unwrap().is_sum && !after("aj").unwrap().is_sum);
    }

    #[test]
    fn q_and_escape_end_it_unless_something_is_open() {
        for keys in ["q", "⎋", "?⎋⎋", "/x⏎⎋⎋", "?q"] {
            assert_eq!(after(keys), None, "{keys:?}");
        }
        for keys in ["?⎋", "/q", "/x⎋", "??"] {
            assert!(after(keys).is_some(), "{keys:?}");
        }
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(View { is_typing: true, ..View::default() }.after(interrupt, &[]), None);
    }
}
