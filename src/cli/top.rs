//! `turnstile top`.

use std::io::{self, IsTerminal as _};
use std::net::{Ipv4Addr, SocketAddr};

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::health::reachable;
use super::terminal::{aligned, has_colours, is_read, say};
use super::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::shutdown::Signals;
use crate::top::address::{Address, NoAddress};
use crate::top::asking::Asking;
use crate::top::row::Row;
use crate::top::screen::Palette;
use crate::top::watched::{Standing, Watched};
use crate::top::{INTERVAL, Moment, json, plain, session};

/// Where a loader is looked for if nothing says where one is: what the documentation serves figures at.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// What `turnstile top` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Asks each loader once a second for /metrics, and changes nothing. On a terminal: a table, and below it all that is known of one \
loader; ? tells the keys. Elsewhere, or with --format json: a line a second for each loader, until it is ended. Rates and lags \
are of the last ten seconds, and stand beside their window. A loader that does not answer, or whose figures stand still, is \
shown with the age of its last answer, and without rates.")]
pub struct Args {
    /// Loaders: host:port, or a URL; /metrics is added where it has no path. None: --metrics-address, or 127.0.0.1:9464
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Ask twice within a second, print what that tells, and end
    #[arg(long)]
    once: bool,
    /// The same as --format json
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let (addresses, format) = self.read(given)?;
        let loaders: Vec<Watched> = addresses.iter().map(|address| Watched::new(address.name.clone())).collect();
        let asking = Asking::start(&addresses).map_err(Failure::without_remedy)?;
        if self.once {
            return once(loaders, asking, format).await;
        }
        let mut signals = Signals::listen().map_err(Failure::of_system("listening for signals"))?;
        let ended = async {
            signals.next().await;
        };
        match format {
            Format::Text if io::stdout().is_terminal() => {
                let palette = Palette { has_colours: has_colours() };
                session::watch(loaders, asking, palette, ended)
                    .await
                    .map_err(Failure::of_system("using the terminal"))?;
            }
            Format::Text | Format::Json => tokio::select! {
                told = tell(loaders, asking, format) => told?,
                () = ended => {}
            },
        }
        Ok(Outcome::Done)
    }

    fn read(&self, given: &Given) -> Result<(Vec<Address>, Format), Mistakes> {
        let mut mistakes = given.mistakes();
        let format =
            given.read(&rows::FORMAT, &mut mistakes).map(|format| if self.json { Format::Json } else { format });
        let served = given.optional(&rows::METRICS_ADDRESS, &mut mistakes);
        let usual = served.map(|served| reachable(served.unwrap_or(USUAL)).to_string());
        let urls: Vec<String> = if self.urls.is_empty() { usual.into_iter().collect() } else { self.urls.clone() };
        let mut addresses: Vec<Address> = Vec::new();
        for (url, number) in urls.iter().zip(1..) {
            let remedy = "give host:port or a URL, for example 127.0.0.1:9464 or http://10.0.0.1:9464/metrics";
            let address = Address::parse(url).map_err(|problem| match problem {
                // What comes with a user name may be a password.
                NoAddress::User => problem.to_string(),
                NoAddress::Malformed | NoAddress::Scheme => format!("{url:?} {problem}"),
            });
            addresses.extend(
                mistakes.take(format!("URL {number}"), address, remedy).filter(|address| !addresses.contains(address)),
            );
        }
        mistakes.or(Some(addresses).zip(format))
    }
}

/// Asks until each has answered twice, or has failed to, and tells it.
async fn once(mut loaders: Vec<Watched>, mut asking: Asking, format: Format) -> Result<Outcome, Failure> {
    let mut to_hear = vec![2u32; loaders.len()];
    while to_hear.iter().any(|answers| *answers > 0) {
        let heard = asking.next().await;
        if let Some(answers) = to_hear.get_mut(heard.which) {
            *answers = if heard.answer.is_ok() { answers.saturating_sub(1) } else { 0 };
        }
        heard.tell(&mut loaders);
    }
    let now = Moment::now();
    match format {
        Format::Json => say(&json::document(&loaders, now).to_string())?,
        Format::Text => {
            let rows: Vec<Row> = loaders.iter().map(|watched| Row::of(watched, now)).collect();
            let heads = plain::HEADS.map(str::to_owned).to_vec();
            let table: Vec<Vec<String>> = std::iter::once(heads).chain(rows.iter().map(plain::cells)).collect();
            aligned(&table).iter().try_for_each(|line| say(line))?;
            let why = rows.iter().filter_map(|row| Some(format!("{}: {}", row.name, row.why.as_ref()?)));
            why.into_iter().try_for_each(|why| say(&why))?;
        }
    }
    let is_live = |watched: &Watched| watched.standing(now) == Standing::Live;
    Ok(if loaders.iter().all(is_live) { Outcome::Done } else { Outcome::Failed })
}

/// A line a second for each loader, or a document for all of them, until nobody reads.
async fn tell(mut loaders: Vec<Watched>, mut asking: Asking, format: Format) -> Result<(), Failure> {
    let mut told = interval_at(Instant::now() + INTERVAL, INTERVAL);
    told.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            heard = asking.next() => heard.tell(&mut loaders),
            _ = told.tick() => {
                let now = Moment::now();
                let lines: Vec<String> = match format {
                    Format::Json => vec![json::document(&loaders, now).to_string()],
                    Format::Text => loaders.iter().map(|watched| plain::line(&Row::of(watched, now), now)).collect(),
                };
                for line in lines {
                    if !is_read(format!("{line}\n").as_bytes())? {
                        return Ok(());
                    }
                }
            }
        }
    }
}
