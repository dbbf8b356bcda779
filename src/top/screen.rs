//! The screen: a table of all loaders, and below it all that is known of one of them.
//!
//! Nothing is said by a colour alone, and nothing that is old stands there without its age.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::Moment;
use super::detail::{Section, Subject};
use super::row::{Row, State};
use super::view::View;
use super::watched::{Standing, Stretch, Watched};
use super::words::{known, length, plain};

mod help;
mod table;

/// From how many columns on there is room for everything.
const WIDE: u16 = 150;
/// How many lines all of a loader has, in two columns and in one.
const LONG: [u16; 2] = [24, 44];
/// How much of a line the name of a section takes.
const NAMES: usize = 10;
/// How many lines are kept for one loader, however many there are.
const KEPT: u16 = 14;

/// Whether colours are used.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    /// Whether there are any.
    pub has_colours: bool,
}

impl Palette {
    fn of(self, colour: Color) -> Style {
        if self.has_colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn state(self, state: State) -> Style {
        match state {
            _ if state.is_trouble() => self.of(Color::Red).add_modifier(Modifier::BOLD),
            State::Ending | State::Asked | State::Starting => self.of(Color::Yellow),
            _ => Style::new(),
        }
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws what is known of these loaders at this moment.
pub fn draw(frame: &mut Frame<'_>, view: &View, loaders: &[Watched], now: Moment, palette: Palette) {
    let rows: Vec<Row> = loaders.iter().map(|watched| Row::of(watched, now)).collect();
    let order = view.order(&rows);
    let [title, table, detail, keys] = areas(frame.area(), order.len());
    frame.render_widget(Paragraph::new(titled(&rows, loaders, now, title.width, palette)), title);
    frame.render_widget(Paragraph::new(table::lines(view, &rows, &order, table, palette)), table);
    let below = match view.is_help {
        true => help::lines(),
        false => below_the_table(view, loaders, &rows, &order, now, detail, palette),
    };
    frame.render_widget(Paragraph::new(fitting(below, detail.height)), detail);
    frame.render_widget(Paragraph::new(keys_of(view, order.len(), rows.len())), keys);
}

/// The title, the table with its two lines of heads, what is below it, and the keys.
fn areas(screen: Rect, rows: usize) -> [Rect; 4] {
    let inner = screen.height.saturating_sub(2);
    let wanted = u16::try_from(rows.max(1)).unwrap_or(u16::MAX).saturating_add(2);
    let table = wanted.min(inner.saturating_sub(KEPT).max(5)).min(inner);
    let mut y = screen.y;
    [1.min(screen.height), table, inner - table, 1.min(screen.height.saturating_sub(1))].map(|height| {
        let area = Rect { y, height, ..screen };
        y += height;
        area
    })
}

fn titled<'a>(rows: &[Row], loaders: &[Watched], now: Moment, width: u16, palette: Palette) -> Line<'a> {
    let loaders_in_words = if rows.len() == 1 { "1 loader".to_owned() } else { format!("{} loaders", rows.len()) };
    let mut left = vec![Span::styled(" turnstile top  ", BOLD), Span::raw(loaders_in_words)];
    let mut states: Vec<State> = rows.iter().map(|row| row.state).filter(|state| state.is_trouble()).collect();
    states.sort_unstable();
    for same in states.chunk_by(|one, other| one == other) {
        let state = same.first().copied().unwrap_or(State::Away);
        left.push(Span::raw(", "));
        left.push(Span::styled(format!("{} {}", same.len(), state.word()), palette.state(state)));
    }
    let is_live = |watched: &&Watched| watched.standing(now) == Standing::Live;
    let newest = loaders.iter().filter(is_live).filter_map(|watched| watched.age(now)).min();
    let right = match newest {
        Some(age) => Span::raw(format!("figures of {} UTC ", clock(now, age))),
        None if rows.iter().all(|row| row.state == State::Asked) => Span::raw("asking … "),
        None => Span::styled("NO FIGURES OF NOW ", palette.state(State::Away)),
    };
    let used = left.iter().chain([&right]).map(Span::width).sum::<usize>();
    left.push(Span::raw(" ".repeat(usize::from(width).saturating_sub(used).max(1))));
    left.push(right);
    Line::from(left)
}

fn clock(now: Moment, age: Duration) -> String {
    let (hour, minute, second) = (now.clock - age).to_hms();
    format!("{hour:02}:{minute:02}:{second:02}")
}

/// What is known of the loader that is looked at, or of all that answer.
fn below_the_table<'a>(
    view: &View,
    loaders: &[Watched],
    rows: &[Row],
    order: &[usize],
    now: Moment,
    area: Rect,
    palette: Palette,
) -> Vec<Line<'a>> {
    if view.is_sum {
        return sum(loaders, order, now, area);
    }
    let chosen = view.cursor(order).and_then(|place| Some((loaders.get(place)?, rows.get(place)?)));
    let Some((watched, row)) = chosen else {
        return vec![Line::raw(format!("   no loader is called {:?}: Esc shows all", view.filter))];
    };
    let style = palette.state(row.state);
    let Some((figures, age)) = watched.last().zip(watched.age(now)) else {
        let why = row.why.clone().unwrap_or_else(|| "no answer yet".to_owned());
        let never = format!("   It has never answered since it is watched: {why}");
        return vec![rule(&row.name, row.state.word(), area.width), Line::styled(never, style)];
    };
    let mut lines = Vec::new();
    let is_live = watched.standing(now) == Standing::Live;
    if is_live {
        let version = watched.build().map_or_else(String::new, |build| plain(&build.version));
        let restarted =
            watched.restarted(now).map_or_else(String::new, |ago| format!(", RESTARTED {} ago", length(ago)));
        let up = known(row.uptime, length);
        let answered = length(age);
        let told = format!("{}, answered {answered} ago, up {up}{restarted}, version {version}", row.state_in_words());
        lines.push(rule(&row.name, &told, area.width));
    } else {
        lines.push(rule(&row.name, &row.state_in_words(), area.width));
        let why = row.why.clone().unwrap_or_default();
        lines.push(Line::styled(format!(" {why}"), style));
        let until = format!(" These are its LAST figures, of {} UTC, {} ago:", clock(now, age), length(age));
        lines.push(Line::styled(until, style));
    }
    let stretch = watched.stretch(now);
    let subject = Subject { figures, stretch: stretch.as_ref(), is_live, age, is_sum: false };
    lines.extend(arranged(&subject, area, if is_live { Style::new() } else { DIM }));
    lines
}

/// What the loaders that are shown do together, as far as they answer.
fn sum<'a>(loaders: &[Watched], order: &[usize], now: Moment, area: Rect) -> Vec<Line<'a>> {
    let shown = order.iter().filter_map(|place| loaders.get(*place));
    let live: Vec<&Watched> = shown.filter(|watched| watched.standing(now) == Standing::Live).collect();
    let told = match order.len() - live.len() {
        0 => "together".to_owned(),
        away => format!("together; {away} NOT COUNTED: no figures of now"),
    };
    let head = rule(&format!("{} of {} loaders", live.len(), order.len()), &told, area.width);
    let figures = live.iter().filter_map(|watched| watched.last().cloned()).reduce(|sum, one| sum.together(&one));
    let Some(figures) = figures else { return vec![head] };
    let age = live.iter().filter_map(|watched| watched.age(now)).max().unwrap_or_default();
    let stretch = stretch_of_all(&live, now);
    let subject = Subject { figures: &figures, stretch: stretch.as_ref(), is_live: true, age, is_sum: true };
    std::iter::once(head).chain(arranged(&subject, area, Style::new())).collect()
}

/// What came together in a window that all of them have.
fn stretch_of_all(live: &[&Watched], now: Moment) -> Option<Stretch> {
    let stretches: Option<Vec<Stretch>> = live.iter().map(|watched| watched.stretch(now)).collect();
    let window = stretches?.iter().map(|stretch| stretch.over).min()?;
    let stretches: Option<Vec<Stretch>> = live.iter().map(|watched| watched.stretch_of(now, window)).collect();
    let stretches = stretches?;
    let over = stretches.iter().map(|stretch| stretch.over).sum::<Duration>() / u32::try_from(stretches.len()).ok()?;
    let figures = stretches.into_iter().map(|stretch| stretch.figures).reduce(|sum, one| sum.together(&one))?;
    Some(Stretch { figures, over })
}

/// `── name ── told ─────`
fn rule<'a>(name: &str, told: &str, width: u16) -> Line<'a> {
    let text = format!(" {told} ");
    let used = 6 + name.chars().count() + text.chars().count();
    let rest = "─".repeat(usize::from(width).saturating_sub(used));
    Line::from(vec![
        Span::styled("── ", DIM),
        Span::styled(name.to_owned(), BOLD),
        Span::styled(" ──", DIM),
        Span::raw(text),
        Span::styled(rest, DIM),
    ])
}

/// The sections, in one column or in two.
fn arranged<'a>(subject: &Subject<'_>, area: Rect, style: Style) -> Vec<Line<'a>> {
    let is_wide = area.width >= WIDE;
    let [long_in_two, long_in_one] = LONG;
    let is_long = area.height >= if is_wide { long_in_two } else { long_in_one };
    let sections = subject.sections(is_long, usize::from(area.width).saturating_sub(NAMES));
    if !is_wide {
        return sections.iter().flat_map(|section| lines_of(section, style)).map(Line::from).collect();
    }
    let all: usize = sections.iter().map(|section| section.lines.len()).sum();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for section in &sections {
        let is_left = right.is_empty() && 2 * left.len() < all;
        if is_left { &mut left } else { &mut right }.extend(lines_of(section, style));
    }
    side_by_side(left, right, usize::from(area.width / 2))
}

fn lines_of<'a>(section: &Section, style: Style) -> Vec<Vec<Span<'a>>> {
    let line = |(at, text): (usize, &String)| {
        let name = if at == 0 { section.name } else { "" };
        vec![Span::styled(format!(" {name:<9}"), style.add_modifier(Modifier::BOLD)), Span::styled(text.clone(), style)]
    };
    section.lines.iter().enumerate().map(line).collect()
}

fn side_by_side<'a>(left: Vec<Vec<Span<'a>>>, right: Vec<Vec<Span<'a>>>, width: usize) -> Vec<Line<'a>> {
    let height = left.len().max(right.len());
    let [left, right] = [left, right].map(|lines| lines.into_iter().map(Some).chain(std::iter::repeat(None)));
    let joined = left.zip(right).take(height).map(|(left, right)| {
        let mut line = left.unwrap_or_default();
        let used: usize = line.iter().map(Span::width).sum();
        line.push(Span::raw(" ".repeat(width.saturating_sub(used))));
        line.extend(right.unwrap_or_default());
        Line::from(line)
    });
    joined.collect()
}

/// As many lines as there is room for; where that is not all, the last says so.
fn fitting(mut lines: Vec<Line<'_>>, height: u16) -> Vec<Line<'_>> {
    let (height, all) = (usize::from(height), lines.len());
    if all > height {
        lines.truncate(height.saturating_sub(1));
        lines.push(Line::styled(format!(" … {} more lines in a larger window", all - lines.len()), DIM));
    }
    lines
}

fn keys_of<'a>(view: &View, shown: usize, all: usize) -> Line<'a> {
    if view.is_typing {
        let typed = format!(" filter: {}_", plain(&view.filter));
        return Line::from(vec![Span::styled(typed, BOLD), Span::raw("   Enter keeps it, Esc clears it")]);
    }
    let sorted = format!(" sort: {}{}", view.sort.word(), if view.is_reversed { ", reversed" } else { "" });
    let keys = [
        ("q", " quit"),
        ("?", " help"),
        ("s", &sorted),
        ("r", " reverse"),
        ("/", " filter"),
        ("j k", " select"),
        ("a", " all"),
    ];
    let mut line: Vec<Span<'_>> = Vec::new();
    if !view.filter.is_empty() {
        line.push(Span::styled(format!(" {shown} of {all} match {:?}, Esc shows all;", view.filter), BOLD));
    }
    for (key, does) in keys {
        line.extend([Span::raw(" "), Span::styled(key, BOLD), Span::raw(does.to_owned()), Span::raw(" ")]);
    }
    Line::from(line)
}
