//! Watching on a terminal, until a key or a signal ends it. The terminal is given back on every end, a panic included.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::style::force_color_output;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Moment;
use super::asking::Asking;
use super::row::Row;
use super::screen::{Palette, draw};
use super::view::View;
use super::watched::Watched;

/// How often the screen is drawn though nothing has happened: ages grow.
const REDRAWN: Duration = Duration::from_millis(500);
/// How long a key is waited for before it is asked whether somebody still wants one.
const KEY_WITHIN: Duration = Duration::from_millis(100);

/// Shows the loaders until a key ends it, or `ended` comes.
///
/// # Errors
///
/// When the terminal cannot be written to, or read from.
pub async fn watch(
    mut loaders: Vec<Watched>,
    mut asking: Asking,
    palette: Palette,
    ended: impl Future<Output = ()>,
) -> io::Result<()> {
    force_color_output(palette.has_colours);
    let mut screen = Screen::open()?;
    let mut events = events();
    let mut view = View::default();
    let mut ended = std::pin::pin!(ended);
    loop {
        screen.0.draw(|frame| draw(frame, &view, &loaders, Moment::now(), palette))?;
        tokio::select! {
            () = &mut ended => return Ok(()),
            heard = asking.next() => heard.tell(&mut loaders),
            event = events.recv() => match event {
                Some(event) => match taken(view, event?, &loaders) {
                    ControlFlow::Continue(after) => view = after,
                    ControlFlow::Break(()) => return Ok(()),
                },
                None => return Ok(()),
            },
            () = sleep(REDRAWN) => {}
        }
    }
}

fn taken(view: View, event: Event, loaders: &[Watched]) -> ControlFlow<(), View> {
    // Whatever else it is, the screen is drawn anew after it, at its new size.
    let Event::Key(key) = event else { return ControlFlow::Continue(view) };
    let now = Moment::now();
    let rows: Vec<Row> = loaders.iter().map(|watched| Row::of(watched, now)).collect();
    let order = view.order(&rows);
    view.after(key, &order).map_or(ControlFlow::Break(()), ControlFlow::Continue)
}

/// The keys that are pressed, read on a thread of its own: reading waits.
fn events() -> mpsc::Receiver<io::Result<Event>> {
    let (events, taken) = mpsc::channel(16);
    std::thread::spawn(move || {
        while !events.is_closed() {
            let event = match event::poll(KEY_WITHIN) {
                Ok(true) => event::read(),
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            let is_over = event.is_err();
            if events.blocking_send(event).is_err() || is_over {
                return;
            }
        }
    });
    taken
}

/// The terminal while it is ours.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self).inspect_err(|_| ratatui::restore())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A panic has given it back before it was told, and the cursor stands below what it told.
        if !std::thread::panicking() {
            ratatui::restore();
        }
    }
}
