//! Stand-ins: what tests run against in the place of services that are far away or cost money.
//!
//! [`sqs`] is a local SQS server. It listens on a port of this machine, and any AWS client that is given its endpoint
//! works with it. It can lose replies, deliver twice, throttle and more, by probabilities and a seed.
//!
//! ```no_run
//! use stand_ins::sqs::{Faults, LocalQueue, QueueOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let queues = vec![QueueOptions::new("orders")];
//! let faults = Faults { seed: 7, lost_reply: 0.05, ..Faults::default() };
//! let server = LocalQueue::start(([127, 0, 0, 1], 0).into(), queues, faults).await?;
//! // AWS_ENDPOINT_URL, or `endpoint_url` of an SDK's configuration. Any credentials are accepted.
//! println!("{} {}", server.endpoint(), server.queue_url("orders"));
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`postgres`] is a throw-away PostgreSQL: a real server of the programs that are installed here, in a temporary
//! folder. It ends, and its folder is removed, with the value that stands for it.
//!
//! ```no_run
//! use stand_ins::postgres::{Options, Postgres};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut server = Postgres::start(Options::default()).await?;
//! let client = server.connect().await?;
//! client.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await?;
//! // What was committed is there after a crash.
//! server.kill_hard();
//! server.restart().await?;
//! let rows = server.connect().await?.query("SELECT n FROM kept", &[]).await?;
//! assert_eq!(rows.len(), 1);
//! # Ok(())
//! # }
//! ```

pub mod postgres;
pub mod sqs;
