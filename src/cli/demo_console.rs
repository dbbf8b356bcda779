//! `turnstile demo --console`: the demo's world stays open, with the console over it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;

use super::demo::{conclude, how_to_connect, interrupted, play, read};
use super::terminal::say;
use super::{Failure, Outcome};
use crate::config::Given;
use crate::config::rows::Colour;
use crate::console::{Console, ConsoleSettings, serve};
use crate::demo::{Operator, Report, Settings, World};
use crate::shutdown::Signals;

/// Where `turnstile console` listens.
const USUAL_PORT: u16 = 9465;

/// The demo, what was done in its world, and the console that shows it.
struct Opened {
    world: World,
    report: Report,
    listener: TcpListener,
    console: Arc<Console>,
    how_to_sign_in: String,
}

pub(super) async fn run(given: &Given) -> Result<Outcome, Failure> {
    let settings = read(given)?;
    let mut signals = Signals::listen().map_err(Failure::of_system("listening for signals"))?;
    let Opened { world, report, listener, console, how_to_sign_in } = tokio::select! {
        opened = open(settings) => opened?,
        signal = signals.next() => return interrupted(signal),
    };
    say(&format!("{}\n{how_to_sign_in}", how_to_connect(&world, &report)))?;
    tokio::select! {
        ended = serve(listener, console) => match ended {
            Ok(never) => match never {},
            Err(error) => return Err(Failure::without_remedy(error)),
        },
        _ = signals.next() => {}
    }
    conclude(world, &report)
}

async fn open(settings: Settings) -> Result<Opened, Failure> {
    let (world, report) = play(settings).await?;
    let operator = Operator::of(&world).await?;
    let listener = listen().await.map_err(Failure::of_system("listening on 127.0.0.1 for the console"))?;
    let address = listener.local_addr().map_err(Failure::of_system("asking where the console listens"))?;
    let (role, password) = (operator.name(), operator.password());
    let how_to_sign_in = format!("The console is at http://{address}/ (role: {role}, password: {password})");
    let settings = ConsoleSettings {
        environment: Some(("demo".to_owned(), Colour::Green)),
        ..ConsoleSettings::new(operator.database)
    };
    let console = Arc::new(Console::new(settings, Some(operator.keyring))?);
    Ok(Opened { world, report, listener, console, how_to_sign_in })
}

/// At the port that people know, or at a free one.
async fn listen() -> io::Result<TcpListener> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(at(USUAL_PORT)).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => TcpListener::bind(at(0)).await,
        bound => bound,
    }
}
