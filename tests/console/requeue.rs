//! Letters that a form sends back to their queue.

use std::time::Duration;

use stand_ins::sqs::QueueOptions;
use tokio_postgres::Client;
use turnstile::audit::audit;

use super::acts::hidden;
use super::world::Browser;
use crate::grants::Roles;
use crate::support::postgres::{TestDatabase, connect};
use crate::support::program::{Loader, text_of};
use crate::support::site::{QUEUE, Site};
use crate::support::tables::PRIVATE;
use crate::support::verdicts::login;

/// A queue, tables that refuse toasters, and a console of its own process, which has the queue's endpoint.
struct World {
    site: Site,
    roles: Roles,
    client: Client,
    console: Loader,
    browser: Browser,
    _test: TestDatabase,
}

impl World {
    async fn of(letters: &[&str]) -> Self {
        let test = TestDatabase::with_tables().await;
        let site = Site::of(QueueOptions::new(QUEUE), test.url()).await;
        let client = connect(test.url()).await;
        let refuse = "ALTER TABLE user_logins ADD CONSTRAINT no_toaster CHECK (device_type <> 'toaster')";
        client.batch_execute(refuse).await.unwrap();
        site.send(letters.iter().map(|name| login(name, "toaster")).chain([login("neighbour", "ios")])).await;
        load(&site).await;
        client.batch_execute("ALTER TABLE user_logins DROP CONSTRAINT no_toaster").await.unwrap();
        let roles = Roles::granted(test.url()).await;
        let console = site.start(site.command(&["console", "--listen", "127.0.0.1:0"]), "console");
        let mut browser = Browser::at(console.serves_at().await);
        browser.sign_in(&roles.login("operator"), "sesame").await;
        Self { site, roles, client, console, browser, _test: test }
    }

    async fn count(&self, of: &str) -> i64 {
        self.client.query_one(&format!("SELECT count(*) FROM {of}"), &[]).await.unwrap().get(0)
    }

    async fn a_letter(&self) -> String {
        let hash = "SELECT encode(message_hash, 'hex') FROM dead_letters ORDER BY message_id LIMIT 1";
        format!("/dead-letters/{}", self.client.query_one(hash, &[]).await.unwrap().get::<_, String>(0))
    }

    async fn end(self) {
        self.console.terminate();
        let said = self.console.said();
        assert!(self.console.ended().await.success());
        assert!(PRIVATE.iter().all(|private| !said.contains(private)), "{said}");
        let audit = audit(&self.site.database(), Duration::from_secs(60), |_| {}).await.unwrap();
        assert!(audit.holds(), "{:?}", audit.broken);
        self.roles.drop().await;
    }
}

/// A loader until the queue is empty.
async fn load(site: &Site) {
    let arguments = ["run", "--until-empty", "--max-attempts", "1", "--retry-delay", "0s", "--wait", "1s"];
    let ended = site.start(site.command(&arguments), "log").ended().await;
    assert!(ended.success(), "{}", text_of(&site.log("log")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_is_sent_back_once_and_a_loader_takes_it_for_what_it_was() {
    let world = World::of(&["a"]).await;
    let letter = world.a_letter().await;
    world.browser.get(&letter).await.assert_says(200, &["Send back to the queue", &format!("{letter}/requeue")]);
    let fields = [("once", "s1"), ("reason", "the constraint is gone")];
    for _ in 0..2 {
        let page = world.browser.act(&format!("{letter}/requeue"), &fields).await;
        page.assert_says(200, &["The letter is sent back to its queue.", "the constraint is gone"]);
        page.assert_discreet();
    }
    assert_eq!(world.site.depth(), 1, "it was sent once");
    load(&world.site).await;
    let role = world.roles.login("operator");
    let noted = format!("operator_actions WHERE action = 'requeued' AND role = '{role}' AND person IS NULL");
    assert_eq!((world.count(&noted).await, world.count("user_logins").await), (1, 2));
    assert_eq!(world.count("dead_letters WHERE status = 'replayed'").await, 1);
    let page = world.browser.act(&format!("{letter}/requeue"), &[("once", "s2"), ("reason", "again")]).await;
    page.assert_says(200, &["Nothing was sent back."]);
    world.browser.get(&letter).await.assert_silent(&["/requeue\""]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_match_are_sent_back_if_their_number_is_typed() {
    let world = World::of(&["a", "b", "c"]).await;
    let page = world.browser.get("/dead-letters/all?code=refused_by_database").await;
    page.assert_says(200, &["/dead-letters/all/requeue", "Type the number of letters: <strong>3</strong>"]);
    let of_page = hidden(&page.body, "/dead-letters/all/requeue");
    let send = async |typed: &str, once: &str| {
        let own = [("reason", "the constraint is gone"), ("letters", typed)];
        let given = of_page.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let given = given.map(|(name, value)| if name == "once" { (name, once) } else { (name, value) });
        world.browser.act("/dead-letters/all/requeue", &given.chain(own).collect::<Vec<_>>()).await
    };
    send("2", "n1").await.assert_says(200, &["3 letters match, and 2 was typed"]);
    assert_eq!(world.site.depth(), 0);
    send("3", "n2").await.assert_says(200, &["3 of 3 letters are sent back."]);
    load(&world.site).await;
    assert_eq!((world.count("user_logins").await, world.count("dead_letters WHERE status = 'open'").await), (4, 0));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_queue_is_gone_it_is_said_and_the_letter_stays_open() {
    let mut world = World::of(&["a"]).await;
    let letter = world.a_letter().await;
    let mut console = world.site.command(&["console", "--listen", "127.0.0.1:0"]);
    console.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let before = std::mem::replace(&mut world.console, world.site.start(console, "elsewhere"));
    before.terminate();
    assert!(before.ended().await.success());
    world.browser = Browser::at(world.console.serves_at().await);
    world.browser.sign_in(&world.roles.login("operator"), "sesame").await;
    let page =
        world.browser.act(&format!("{letter}/requeue"), &[("once", "1"), ("reason", "the constraint is gone")]).await;
    page.assert_says(200, &["Nothing was sent back. Sending stopped: ", "127.0.0.1:9"]);
    assert_eq!(world.count("dead_letters WHERE status = 'open'").await, 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_send_letters_back_is_not_offered_it_and_cannot() {
    let mut world = World::of(&["a"]).await;
    let letter = world.a_letter().await;
    for kind in ["viewer", "revealer"] {
        world.browser.cookie = None;
        world.browser.sign_in(&world.roles.login(kind), "sesame").await;
        world.browser.get(&letter).await.assert_silent(&["/requeue\""]);
        let fields = [("once", "1"), ("reason", "the constraint is gone")];
        let refused = world.browser.post(&format!("{letter}/requeue"), &fields).await;
        refused.assert_says(403, &["turnstile_operator"]);
    }
    assert_eq!((world.site.depth(), world.count("operator_actions").await), (0, 0));
    world.end().await;
}
