//! The table of the loaders.

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{BOLD, DIM, Palette, WIDE};
use crate::metrics::Doing;
use crate::top::row::Row;
use crate::top::view::{Sort, View};
use crate::top::words::{count, known, latency, length, rate, window};

/// What a number is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Nothing,
    Window,
    Now,
    Start,
}

struct Column {
    name: &'static str,
    width: usize,
    is_left: bool,
    of: Of,
    sort: Option<Sort>,
    cell: fn(&Row) -> String,
}

const fn left(name: &'static str, width: usize, sort: Option<Sort>, cell: fn(&Row) -> String) -> Column {
    Column { name, width, is_left: true, of: Of::Nothing, sort, cell }
}

const fn number(name: &'static str, width: usize, of: Of, sort: Option<Sort>, cell: fn(&Row) -> String) -> Column {
    Column { name, width, is_left: false, of, sort, cell }
}

/// The narrowest that a name's column is.
const NAME: usize = 16;

/// What is always shown, in 80 columns.
const COLUMNS: [Column; 9] = [
    left("loader", NAME, Some(Sort::Name), |row| row.name.clone()),
    left("state", 18, Some(Sort::State), Row::state_in_words),
    number("in/s", 5, Of::Window, Some(Sort::Received), |row| known(row.received, rate)),
    number("load/s", 6, Of::Window, Some(Sort::Loaded), |row| known(row.loaded, rate)),
    number("p50", 5, Of::Window, None, |row| known(row.p50, latency)),
    number("p99", 5, Of::Window, Some(Sort::Lag), |row| known(row.p99, latency)),
    number("over", 4, Of::Window, None, |row| known(row.over, window)),
    number("hand", 5, Of::Now, Some(Sort::InHand), |row| known(row.in_hand, count)),
    number("dead", 5, Of::Start, Some(Sort::Dead), |row| known(row.dead, count)),
];

/// What is shown beside it where there is room.
const MORE: [Column; 3] = [
    number("up", 7, Of::Nothing, None, |row| known(row.uptime, length)),
    left("version", 10, None, |row| known(row.version.clone(), |version| version)),
    left("lanes", 44, None, lanes),
];

fn lanes(row: &Row) -> String {
    let words = |(doing, lanes): &(Doing, u64)| format!("{lanes} {}", doing.in_words());
    known((!row.lanes.is_empty()).then_some(&row.lanes), |lanes| lanes.iter().map(words).collect::<Vec<_>>().join(", "))
}

/// The heads, and as many rows as there is room for: the one that is looked at is among them.
pub(super) fn lines<'a>(view: &View, rows: &[Row], order: &[usize], area: Rect, palette: Palette) -> Vec<Line<'a>> {
    let columns: Vec<&Column> = match area.width >= WIDE {
        true => COLUMNS.iter().chain(&MORE).collect(),
        false => COLUMNS.iter().collect(),
    };
    let others: usize = columns.iter().skip(1).map(|column| column.width + 1).sum();
    let name_width = usize::from(area.width).saturating_sub(others + 3).clamp(NAME, 40);
    let table = Table { columns, name_width, palette };
    let cursor = view.cursor(order);
    let room = usize::from(area.height).saturating_sub(2);
    let at = order.iter().position(|place| Some(*place) == cursor).unwrap_or_default();
    let above = (at + 1).saturating_sub(room);
    let shown: Vec<(usize, &Row)> =
        order.iter().skip(above).take(room).filter_map(|place| Some((*place, rows.get(*place)?))).collect();
    let which = match shown.len() < order.len() {
        true => format!("{} to {} of {}", above + 1, above + shown.len(), order.len()),
        false => String::new(),
    };
    let lines = shown.into_iter().map(|(place, row)| table.row(row, !view.is_sum && Some(place) == cursor));
    [table.groups(&which, rows), table.head(view)].into_iter().chain(lines).collect()
}

struct Table {
    columns: Vec<&'static Column>,
    name_width: usize,
    palette: Palette,
}

impl Table {
    fn width(&self, at: usize) -> usize {
        self.columns.get(at).map_or(0, |column| if at == 0 { self.name_width } else { column.width })
    }

    /// Which rows are shown where that is not all, and what the numbers below are of: a window, this moment, the time since the start.
    fn groups<'a>(&self, which: &str, rows: &[Row]) -> Line<'a> {
        let longest = rows.iter().filter_map(|row| row.over).max();
        let mut line = "  ".to_owned();
        let mut at = 0;
        for columns in self.columns.chunk_by(|one, other| one.of == other.of) {
            let widths = (at..at + columns.len()).map(|at| self.width(at) + 1);
            at += columns.len();
            let width = widths.sum::<usize>() - 1;
            let of = columns.first().map_or(Of::Nothing, |column| column.of);
            let text = match of {
                Of::Nothing if line.trim().is_empty() => format!("{which:<width$}"),
                Of::Nothing => " ".repeat(width),
                Of::Window => {
                    let over =
                        longest.map_or(" no rates now ".to_owned(), |over| format!(" over the last {} ", window(over)));
                    format!("{over:─^width$}")
                }
                Of::Now => format!("{:>width$}", "now"),
                Of::Start => format!("{:>width$}", "total"),
            };
            line += &text;
            line.push(' ');
        }
        Line::styled(line.trim_end().to_owned(), DIM)
    }

    fn head<'a>(&self, view: &View) -> Line<'a> {
        let mut spans = vec![Span::raw("  ")];
        for (at, column) in self.columns.iter().enumerate() {
            let is_sorted = column.sort == Some(view.sort);
            let style = if is_sorted { BOLD.add_modifier(Modifier::UNDERLINED) } else { BOLD };
            let padding = " ".repeat(self.width(at).saturating_sub(column.name.chars().count()));
            let name = Span::styled(column.name, style);
            let padding = Span::raw(padding);
            spans.extend(if column.is_left { [name, padding] } else { [padding, name] });
            spans.push(Span::raw(" "));
        }
        Line::from(spans)
    }

    fn row<'a>(&self, row: &Row, is_chosen: bool) -> Line<'a> {
        let base = if is_chosen { BOLD } else { Style::new() };
        let mut spans = vec![Span::styled(if is_chosen { "> " } else { "  " }, base)];
        for (at, column) in self.columns.iter().enumerate() {
            let width = self.width(at);
            let cell = shortened((column.cell)(row), width);
            let cell = if column.is_left { format!("{cell:<width$} ") } else { format!("{cell:>width$} ") };
            let is_state = column.sort == Some(Sort::State);
            spans.push(Span::styled(cell, if is_state { base.patch(self.palette.state(row.state)) } else { base }));
        }
        Line::from(spans)
    }
}

/// The end of a name tells loaders apart: a long one loses its beginning.
fn shortened(text: String, width: usize) -> String {
    let length = text.chars().count();
    match length > width {
        false => text,
        true => std::iter::once('…').chain(text.chars().skip(length + 1 - width)).collect(),
    }
}
