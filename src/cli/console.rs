//! `turnstile console`.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::faces::{self, Faces};
use super::{Failure, Outcome};
use crate::config::rows::{self, SignInBy};
use crate::config::{Given, Mistakes};
use crate::console::{Collector, Console, ConsoleSettings, SignIn, serve};
use crate::database::Database;
use crate::keyring::Keyring;
use crate::queue::sqs::SqsQueue;
use crate::serve::{Patience, Progress, Service};
use crate::shutdown::Signals;

/// What `turnstile console` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Serves pages for operators until it is ended. Each person signs in with a role of the database that DATABASE_URL names, and may \
do what this role may do; the URL needs neither role nor password then. With a keyring, members of turnstile_revealer can see \
bodies, and members of turnstile_operator can replay them and send them back to their queue, which is found with the \
standard AWS settings; without one, bodies stay sealed. A session ends after 30 minutes without use, and after 12 hours. Loaders neither need \
nor notice the console.")]
pub struct Args {}

struct Settings {
    listen: SocketAddr,
    console: ConsoleSettings,
    keyring: Option<Keyring>,
    metrics_address: Option<SocketAddr>,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { listen, console, keyring, metrics_address } = read(given)?;
        let mut signals = Signals::listen().map_err(Failure::of_system("listening for signals"))?;
        let scheme = if console.certificate.is_some() { "https" } else { "http" };
        let (database, has_keys) = (console.database.address.to_string(), keyring.is_some());
        let for_figures = metrics_address.map(|_| Database::new(&console.database)).transpose()?;
        let console = Arc::new(Console::new(console, keyring)?);
        let progress = Progress::default();
        let health = faces::health(Patience::default());
        let service = Service::new(console.metrics().clone(), faces::build("", ""), health, false);
        let _faces: Faces<SqsQueue> = Faces::of(service, metrics_address, &progress).await?;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            let what = format!("--listen (TURNSTILE_CONSOLE_LISTEN): {listen} cannot be bound: {error}");
            Failure::new(what, "name an address of this machine and a port that is free")
        })?;
        let address = listener.local_addr().unwrap_or(listen);
        tracing::info!(%address, url = format!("{scheme}://{address}/"), database, has_keys, "serving the console");
        progress.ready.cancel();
        let collecting = async {
            match for_figures {
                Some(database) => Collector::new(&console, database).run().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            never = collecting => match never {},
            ended = serve(listener, console.clone()) => match ended {
                Ok(never) => match never {},
                Err(error) => {
                    Err(Failure::new(error, "name a certificate and its key (PEM) with --tls-certificate and --tls-key"))
                }
            },
            signal = signals.next() => {
                progress.stopping.cancel();
                tracing::info!(%signal, "ended");
                Ok(Outcome::Done)
            }
        }
    }
}

fn read(given: &Given) -> Result<Settings, Mistakes> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let keyring = given.keyring_if_any(&mut mistakes);
    let listen = given.read(&rows::CONSOLE_LISTEN, &mut mistakes);
    let certificate = given.optional(&rows::TLS_CERTIFICATE, &mut mistakes);
    let key = given.optional(&rows::TLS_KEY, &mut mistakes);
    let certificate = certificate.zip(key).and_then(|(certificate, key)| {
        mistakes.take(given.name_of(&rows::TLS_CERTIFICATE), rows::both(certificate, key), "give both, or neither")
    });
    let behind_proxy = given.is_on(&rows::BEHIND_PROXY);
    let by = given.read(&rows::SIGN_IN, &mut mistakes);
    let header = given.read(&rows::PERSON_HEADER, &mut mistakes);
    let environment = given.optional(&rows::ENVIRONMENT, &mut mistakes);
    let colour = given.read(&rows::ENVIRONMENT_COLOUR, &mut mistakes);
    let mask = given.read(&rows::MASK, &mut mistakes);
    let body = given.read(&rows::BODY, &mut mistakes);
    let request_price = given.read(&rows::REQUEST_PRICE, &mut mistakes);
    let metrics_address = given.optional(&rows::METRICS_ADDRESS, &mut mistakes);
    let audit_deadline = given.read(&rows::AUDIT_TIMEOUT, &mut mistakes);
    if let (Some(listen), Some(certificate)) = (listen, &certificate)
        && !listen.ip().is_loopback()
        && certificate.is_none()
        && !behind_proxy
    {
        let problem = format!("{listen} can be reached from elsewhere, and passwords would go there in clear");
        let remedy = "listen on 127.0.0.1, give --tls-certificate and --tls-key, or say --behind-proxy";
        mistakes.note::<()>(given.name_of(&rows::CONSOLE_LISTEN), problem, remedy);
    }
    if by == Some(SignInBy::ProxyHeader) && !behind_proxy {
        let remedy = "put a proxy in front that signs people in, and say --behind-proxy";
        mistakes.note::<()>(given.name_of(&rows::SIGN_IN), "believes a header, and no proxy is said to set it", remedy);
    }
    let all = || {
        let sign_in = match by? {
            SignInBy::Role => SignIn::Role,
            SignInBy::ProxyHeader => SignIn::ProxyHeader(header?),
        };
        let colour = colour?;
        let environment = environment?.map(|name| (name, colour));
        let console = ConsoleSettings {
            sign_in,
            behind_proxy,
            certificate: certificate?,
            environment,
            mask: mask?,
            body: body?,
            allow_endpoint_override: given.is_on(&rows::ALLOW_ENDPOINT_OVERRIDE),
            allow_clear_queue: given.is_on(&rows::ALLOW_CLEAR_QUEUE),
            audit_deadline: audit_deadline?,
            request_price: request_price?,
            ..ConsoleSettings::new(database?)
        };
        Some(Settings { listen: listen?, console, keyring: keyring?, metrics_address: metrics_address? })
    };
    mistakes.or(all())
}
