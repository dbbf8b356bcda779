//! The server gives a role fewer connections than its loader wants.

use super::{COMMAND, Siege};
use crate::support::evidence::survived;
use crate::support::postgres::connect;
use crate::support::server::{self, installed};
use crate::support::wait_until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_goes_on_with_the_connections_that_it_gets() {
    const TOO_MANY: &str = "SQLSTATE 53300";
    let server = server::start(installed()).await;
    let administrator = connect(&server.url()).await;
    // No superuser: the limit does not hold for one. Two: who migrates comes again before the server has seen it go.
    let role = "CREATE ROLE modest LOGIN PASSWORD 'modest' CONNECTION LIMIT 2;
                GRANT ALL ON SCHEMA public TO modest; GRANT CREATE ON DATABASE main TO modest";
    administrator.batch_execute(role).await.unwrap();
    let url = server.url();
    let (_, place) = url.split_once('@').unwrap();
    let wanted = [("TURNSTILE_LANES", "4"), ("TURNSTILE_DATABASE_CONNECTIONS", "4")];

    let siege = Siege::begin(&format!("postgres://modest:modest@{place}"), 1, &wanted).await;
    wait_until("connections are refused", async || {
        siege.feed();
        siege.heard(TOO_MANY) >= 10
    })
    .await;
    siege.is_relieved().await;
    administrator.batch_execute("ALTER ROLE modest CONNECTION LIMIT -1").await.unwrap();
    let struck = siege.heard(TOO_MANY);
    siege.end().await;
    survived("connection refused over the role's limit (53300)", struck, COMMAND);
}
