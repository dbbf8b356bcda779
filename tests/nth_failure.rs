//! The first call fails, then the second, and so on, until a run meets no failure: each time the same tables.

use std::time::Duration;

use stand_ins::sqs::When;
use turnstile::lane::LaneSettings;

use crate::support::evidence::survived;
use crate::support::pipeline::{Pipeline, Running, quick};
use crate::support::postgres::pool;
use crate::support::proxy::{Cut, Moment, PostgresProxy};
use crate::support::verdicts::login;
use crate::support::wait_until;

const COMMAND: &str = "cargo test --test main nth_failure::";
/// More calls than any run makes: a run that comes here does not end.
const TOO_MANY: u64 = 300;
const LOGINS: usize = 12;
const MALFORMED: usize = 1;

/// One database and one queue for all runs of a test, so that nothing but the failure differs between them.
struct Runs {
    pipeline: Pipeline,
    proxy: PostgresProxy,
}

impl Runs {
    async fn new() -> Self {
        let mut pipeline = Pipeline::new().await;
        // Equal keys in each run, although the queue gives each message a new id.
        pipeline.identity = "field:/user_id".parse().unwrap();
        let proxy = PostgresProxy::before(pipeline.test.url()).await;
        Self { pipeline, proxy }
    }

    /// Loads the same messages into empty tables, and gives what stands in them then.
    async fn run(&mut self, arm: impl FnOnce(&Self)) -> Vec<String> {
        let tables = "TRUNCATE user_logins, processed_messages, identities, dead_letters, outbox";
        self.pipeline.client.batch_execute(tables).await.unwrap();
        let logins = (0..LOGINS).map(|n| login(&format!("user {n}"), "ios"));
        self.pipeline.send(logins.chain((0..MALFORMED).map(|n| format!("no login {n}")))).await;
        arm(self);
        let running = self.start().await;
        wait_until("every message is recorded and deleted", async || self.pipeline.depth() == 0).await;
        running.stop().await;
        self.proxy.disarm();
        self.contents().await
    }

    /// A loader of one lane with a pool of its own: opening its connection is a call too.
    async fn start(&mut self) -> Running {
        self.pipeline.database = pool(self.proxy.url(), 1, Duration::from_secs(5));
        let mut lane = LaneSettings { max_attempts: 2, until_empty: false, ..quick() };
        lane.limits.wait = Duration::ZERO;
        lane.limits.linger = Duration::ZERO;
        lane.limits.visibility_timeout = Duration::from_secs(1);
        self.pipeline.start(1, lane).await
    }

    /// Everything that a run decides, in an order of its own.
    async fn contents(&self) -> Vec<String> {
        let sql = "SELECT concat_ws(' ', user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date) FROM user_logins
                   UNION ALL SELECT concat_ws(' ', 'event', user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date) FROM outbox
                   UNION ALL SELECT concat_ws(' ', code, detail, status) FROM dead_letters
                   UNION ALL SELECT concat_ws(' ', outcome, body_hash) FROM processed_messages
                   UNION ALL SELECT concat_ws(' ', hash, login_hash) FROM identities
                   ORDER BY 1";
        self.pipeline.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// Lets call after call fail until a run meets no failure; gives the number of runs that met one.
    async fn fail_one_after_the_other(&mut self, arm: impl Fn(&Self, u64), struck: impl Fn(&Self) -> bool) -> u64 {
        let undisturbed = self.run(|_| {}).await;
        assert_eq!(undisturbed.len(), 4 * LOGINS + 2 * MALFORMED, "{undisturbed:?}");
        for n in 1..TOO_MANY {
            assert_eq!(self.run(|runs| arm(runs, n)).await, undisturbed, "after a failure of call {n}");
            if !struck(self) {
                return n - 1;
            }
        }
        panic!("{TOO_MANY} calls are not enough for {LOGINS} messages");
    }
}

async fn fail_each_call_to_postgresql(moment: Moment, fault: &str) {
    let arm = |runs: &Runs, n| runs.proxy.arm_for_nth(n, Cut::at(moment));
    let struck = Runs::new().await.fail_one_after_the_other(arm, |runs| runs.proxy.strikes() > 0).await;
    survived(fault, struck, COMMAND);
}

async fn fail_each_call_to_the_queue(when: When, fault: &str) {
    let arm = |runs: &Runs, n| runs.pipeline.sqs.fail_call(n, when);
    let failed = |runs: &Runs| runs.pipeline.sqs.failed_call().is_some_and(|call| call.struck());
    let struck = Runs::new().await.fail_one_after_the_other(arm, failed).await;
    survived(fault, struck, COMMAND);
}

#[tokio::test]
async fn whichever_call_to_postgresql_fails_before_its_effect_the_tables_are_the_same() {
    fail_each_call_to_postgresql(Moment::Before, "nth call to PostgreSQL cut off before it took effect").await;
}

#[tokio::test]
async fn whichever_call_to_postgresql_fails_after_its_effect_the_tables_are_the_same() {
    fail_each_call_to_postgresql(Moment::Answered, "nth call to PostgreSQL cut off after it took effect").await;
}

#[tokio::test]
async fn whichever_call_to_the_queue_fails_before_its_effect_the_tables_are_the_same() {
    fail_each_call_to_the_queue(When::BeforeEffect, "nth call to the queue fails before it took effect").await;
}

#[tokio::test]
async fn whichever_call_to_the_queue_fails_after_its_effect_the_tables_are_the_same() {
    fail_each_call_to_the_queue(When::AfterEffect, "nth call to the queue fails after it took effect").await;
}
