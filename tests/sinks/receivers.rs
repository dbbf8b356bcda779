//! What only receivers over HTTP do: redirect, ask for a pause, want no more. And what of their address and secrets is told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::Mutex;

use turnstile::message::MessageHash;
use turnstile::relay::RelayError;
use turnstile::sink::http::{Bearer, HttpSettings, HttpSink, ReceiverError, Secrets};

use super::kinds::SECRET;
use super::*;
use crate::support::scripted_http::{Asked, Reply, ScriptedHttp};
use crate::support::site::Site;

fn event(number: u8) -> Envelope {
    Envelope {
        position: i64::from(number),
        id: MessageHash::from_bytes([number; 32]),
        subject: None,
        created_at: time::OffsetDateTime::UNIX_EPOCH,
        body: format!("{{\"n\":{number}}}"),
    }
}

fn sink_at(server: &ScriptedHttp, settings: HttpSettings) -> HttpSink {
    HttpSink::at(format!("{}/in?code=sesame", server.url()).parse().unwrap(), settings).unwrap()
}

fn in_lists() -> HttpSettings {
    HttpSettings { batch: Some(10), secrets: Some(Secrets::parse(SECRET).unwrap()), ..HttpSettings::default() }
}

/// A server, and the requests that came.
async fn server(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> (ScriptedHttp, Arc<Mutex<Vec<Asked>>>) {
    let came = Arc::new(Mutex::new(Vec::new()));
    let seen = came.clone();
    let server = ScriptedHttp::start(move |asked, before| {
        seen.lock().unwrap().push(asked.clone());
        reply(before)
    });
    (server.await, came)
}

fn header(asked: &Asked, name: &str) -> String {
    asked.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_says_that_the_address_is_wrong() {
    let (elsewhere, strayed) = server(|_| Reply::raw(204, "")).await;
    let to = elsewhere.url();
    let (server, _) = server(move |_| Reply::raw(307, "").with_header("location", to.clone())).await;
    for settings in [HttpSettings::default(), in_lists()] {
        match sink_at(&server, settings).carry(&[event(1)]).await {
            Err(SinkError::Away(cause)) => {
                assert!(cause.contains("307") && cause.contains("correct its address"), "{cause}")
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(strayed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_pause_is_left_alone() {
    let (server, came) = server(|before| match before {
        0 => Reply::raw(503, "").with_header("retry-after", "3600"),
        _ => Reply::raw(204, ""),
    })
    .await;
    let sink = sink_at(&server, in_lists());
    assert!(matches!(sink.carry(&[event(1)]).await, Err(SinkError::Away(_))));
    match sink.carry(&[event(1)]).await {
        // A minute is the most that it gets.
        Err(SinkError::Away(cause)) => assert_eq!(cause, "it asks to be left alone for 60 s more"),
        other => panic!("{other:?}"),
    }
    assert_eq!(came.lock().unwrap().len(), 1, "it was asked once");
}

#[tokio::test]
async fn the_same_events_have_the_same_id_at_each_attempt_and_others_another() {
    let (server, came) = server(|before| Reply::raw(if before == 0 { 503 } else { 200 }, "")).await;
    let sink = sink_at(&server, in_lists());
    assert!(sink.carry(&[event(1), event(2)]).await.is_err());
    assert_eq!(sink.carry(&[event(1), event(2)]).await.unwrap().len(), 2);
    assert_eq!(sink.carry(&[event(1)]).await.unwrap().len(), 1);
    let came = came.lock().unwrap();
    let ids: Vec<String> = came.iter().map(|asked| header(asked, "webhook-id")).collect();
    assert!(ids[0] == ids[1] && ids[0] != ids[2] && ids[0].len() == 64, "{ids:?}");
    assert_eq!(&came[0].bytes[..], b"[{\"n\":1},{\"n\":2}]");
}

#[tokio::test]
async fn an_answer_stands_once_its_status_is_there_and_a_token_and_both_secrets_are_sent() {
    let (server, came) = server(|_| Reply::Cut).await;
    let other = format!("whsec_{}", "QUJD".repeat(8));
    let settings = HttpSettings {
        secrets: Some(Secrets::parse(&format!("{SECRET}\n{other}")).unwrap()),
        bearer: Bearer::parse("open"),
        ..HttpSettings::default()
    };
    assert_eq!(sink_at(&server, settings).carry(&[event(1)]).await.unwrap(), [Carried::Taken]);
    let came = came.lock().unwrap();
    assert_eq!(header(&came[0], "authorization"), "Bearer open");
    assert_eq!(
        header(&came[0], "webhook-signature").split(' ').filter(|signature| signature.starts_with("v1,")).count(),
        2
    );
}

#[tokio::test]
async fn events_leave_this_machine_in_clear_only_where_that_is_allowed() {
    let at = |allow_clear| {
        HttpSink::at(
            "http://192.0.2.7/in?code=sesame".parse().unwrap(),
            HttpSettings { allow_clear, ..HttpSettings::default() },
        )
    };
    let refused = at(false).unwrap_err();
    assert!(matches!(refused, ReceiverError::InClear(_)) && refused.remedy().contains("--allow-clear-http"));
    assert!(!refused.to_string().contains("sesame"), "{refused}");
    assert!(at(true).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_wants_no_more_ends_the_relay_and_nothing_is_set_aside() {
    let (_test, database, client) = outbox().await;
    write(&client, 20).await;
    let (server, _) = server(|_| Reply::raw(410, "")).await;
    for settings_of_sink in [HttpSettings::default(), in_lists()] {
        let sink = Shared(Arc::new(AnySink::Http(Box::new(sink_at(&server, settings_of_sink)))));
        let ended = start(&database, &sink, settings(true), &Shutdown::default()).await.await.unwrap();
        assert!(matches!(ended, Err(RelayError::Sink(SinkError::Gone(_)))), "{ended:?}");
    }
    assert_eq!(count(&client, "relay_failures").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_posts_signed_events_and_tells_no_secret() {
    let test = crate::support::postgres::TestDatabase::with_tables().await;
    let client = test.client().await;
    write(&client, 5).await;
    let (server, came) = server(|before| Reply::raw(if before < 2 { 503 } else { 204 }, "")).await;
    let site = Site::without_tables(test.url()).await;
    let (secrets, bearer) = (site.log("secrets"), site.log("bearer"));
    for (path, text) in [(&secrets, SECRET), (&bearer, "open-sesame\n")] {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let relay = |to: &str| {
        let mut command = site.command(&["relay", "--to", to, "--until-empty", "--http-batch", "3", "--verbose"]);
        command.arg("--http-secrets-file").arg(&secrets).arg("--http-bearer-file").arg(&bearer);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        for secret in ["sesame", &SECRET[6..], &SECRET[..12]] {
            assert!(!said.contains(secret), "{secret}: {said}");
        }
        (output.status.success(), said)
    };
    let (succeeded, said) = relay(&format!("{}/in?code=sesame", server.url()));
    assert!(succeeded, "{said}");
    let target: String = client.query_one("SELECT target FROM turnstile.relay_sinks", &[]).await.unwrap().get(0);
    assert_eq!(target, format!("{}/in?…", server.url()));
    {
        let came = came.lock().unwrap();
        assert!(came.iter().all(|asked| header(asked, "authorization") == "Bearer open-sesame"));
        assert!(came.iter().all(|asked| header(asked, "webhook-signature").starts_with("v1,")));
    }
    for to in ["https://me:sesame@events.example/", "htps://me:sesame@events.example/", "http://192.0.2.7/?code=sesame"]
    {
        let (succeeded, said) = relay(to);
        assert!(!succeeded && said.starts_with("error: "), "{said}");
    }
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o640)).unwrap();
    let (succeeded, said) = relay("https://events.example/");
    assert!(!succeeded && said.contains("others may read it") && said.contains("chmod 600"), "{said}");
}
