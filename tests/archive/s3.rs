//! An archive in S3 as others serve it, while replies are lost: what was stored is stored once, and found again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use turnstile::archive::ArchiveError;
use turnstile::archive::forget::{ForgetSettings, People, forget};
use turnstile::archive::keep::{KeepSettings, archive};
use turnstile::archive::restore::restore;
use turnstile::archive::storage::{Bucket, Place, Storage, StorageError};
use turnstile::archive::verify::verify;

use super::world::{Archive, CLAIMS, LOGINS, World};
use crate::support::scripted_http::aws_at;

/// An S3 that somebody else wrote.
const SERVER: &str = "TURNSTILE_TEST_S3_SERVER";

/// Passes calls on, and loses the first reply to each: the server has done what was asked, and nobody hears of it.
struct Lossy {
    endpoint: String,
    lost: Arc<Mutex<HashMap<String, u32>>>,
}

impl Lossy {
    async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let lost = Arc::new(Mutex::new(HashMap::new()));
        let (seen, client) = (lost.clone(), Client::builder(TokioExecutor::new()).build(HttpConnector::new()));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (server, seen, client) = (server.clone(), seen.clone(), client.clone());
                let pass = service_fn(move |request| pass(client.clone(), server.clone(), seen.clone(), request));
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), pass));
            }
        });
        Self { endpoint, lost }
    }

    /// How many replies to calls of this method were lost.
    fn lost(&self, method: &Method) -> usize {
        self.lost.lock().unwrap().keys().filter(|call| call.starts_with(method.as_str())).count()
    }
}

async fn pass(
    client: Client<HttpConnector, Full<Bytes>>,
    server: String,
    seen: Arc<Mutex<HashMap<String, u32>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let target = head.uri.path_and_query().unwrap().to_string();
    head.uri = format!("{server}{target}").parse().unwrap();
    let call = format!("{} {target}", head.method);
    let reply = client.request(Request::from_parts(head, Full::new(body))).await.map_err(std::io::Error::other)?;
    let (head, body) = reply.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let visits = {
        let mut seen = seen.lock().unwrap();
        let visits = seen.entry(call).or_default();
        *visits += 1;
        *visits
    };
    if visits == 1 && head.status.is_success() {
        return Err(std::io::Error::other("the reply is lost"));
    }
    Ok(Response::from_parts(head, Full::new(body)))
}

async fn bucket(endpoint: &str) -> Storage {
    Storage::S3(Box::new(Bucket::connect_with("logins-archive", "eu/", &aws_at(endpoint)).await.unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs another S3: `make conformance` starts one and runs this"]
async fn in_s3_every_object_is_stored_once_though_replies_are_lost() {
    let server = std::env::var(SERVER).expect("the endpoint of an S3 in TURNSTILE_TEST_S3_SERVER");
    let direct = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&aws_at(&server)).force_path_style(true).build(),
    );
    let place: Place = "s3://logins-archive/eu".parse().unwrap();
    let absent = bucket(&server).await.list("").await;
    assert!(matches!(absent, Err(StorageError::NoBucket(_))), "{absent:?}");
    let of_region = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint("eu-central-1".into());
    let made = direct.create_bucket().bucket("logins-archive").create_bucket_configuration(of_region.build());
    made.send().await.unwrap();

    let world = World::new().await;
    world.retire(&LOGINS, 2_000).await;
    world.retire(&CLAIMS, 2_000).await;
    world.run("UPDATE public.user_logins_202610 SET user_id = 'leaves' WHERE app_version IN (5000, 6000)").await;
    let lossy = Lossy::before(server.clone()).await;
    let settings = KeepSettings::default();
    let database = &world.tables.database;
    let kept = archive(database, bucket(&lossy.endpoint).await, &place, &settings, |_| {}).await.unwrap();
    assert_eq!(kept.iter().map(|one| one.rows).collect::<Vec<_>>(), [2_000, 2_000]);
    assert_eq!(lossy.lost(&Method::PUT), 4, "two files and two manifests");
    assert!(lossy.lost(&Method::GET) >= 2);
    assert!(!world.stands(LOGINS.place).await && !world.stands(CLAIMS.place).await);

    let direct_storage = bucket(&server).await;
    let verified = verify(&direct_storage, true, None, |_| {}).await.unwrap();
    assert_eq!((verified.problems, verified.unnamed), (vec![], vec![] as Vec<String>));
    assert_eq!((verified.manifests, verified.files, verified.rows), (2, 2, 4_000));

    let people = People::of_lines(b"leaves");
    let how = ForgetSettings { dry_run: false, patience: settings.patience };
    let storage = bucket(&lossy.endpoint).await;
    let forgotten = forget(database, storage, &place, &people, &how, |_| {}).await.unwrap();
    assert_eq!((forgotten[0].rows, forgotten[0].left), (2, 1_998));
    assert!(lossy.lost(&Method::DELETE) >= 1);
    let verified = verify(&direct_storage, true, None, |_| {}).await.unwrap();
    assert_eq!((verified.problems, verified.rows), (vec![], 3_998));
    let restored = restore(database, &bucket(&lossy.endpoint).await, "2026-10", |_| {}).await.unwrap();
    assert_eq!(restored.iter().map(|one| one.rows).collect::<Vec<_>>(), [1_998, 2_000]);

    // What stands there and is something else is not replaced, also by a put that is repeated.
    let name = "eu/manifests/00000004.json";
    let odd = aws_sdk_s3::primitives::ByteStream::from_static(b"something else");
    direct.put_object().bucket("logins-archive").key(name).body(odd).send().await.unwrap();
    let refused = archive(database, bucket(&lossy.endpoint).await, &place, &settings, |_| {}).await;
    assert!(matches!(refused, Err(ArchiveError::Broken(_))), "{refused:?}");
    let stands = direct.get_object().bucket("logins-archive").key(name).send().await.unwrap();
    assert_eq!(stands.body.collect().await.unwrap().to_vec(), b"something else");
}

/// The same rows are the same bytes in a folder and in a bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs another S3: `make conformance` starts one and runs this"]
async fn a_folder_and_a_bucket_hold_the_same_bytes() {
    let server = std::env::var(SERVER).expect("the endpoint of an S3 in TURNSTILE_TEST_S3_SERVER");
    let direct = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&aws_at(&server)).force_path_style(true).build(),
    );
    let of_region = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint("eu-central-1".into());
    direct.create_bucket().bucket("same-bytes").create_bucket_configuration(of_region.build()).send().await.unwrap();
    let storage = Storage::S3(Box::new(Bucket::connect_with("same-bytes", "", &aws_at(&server)).await.unwrap()));
    let (world, folder) = (World::new().await, Archive::new());
    world.retire(&LOGINS, 500).await;
    let place: Place = "s3://same-bytes".parse().unwrap();
    archive(&world.tables.database, storage, &place, &KeepSettings::default(), |_| {}).await.unwrap();
    let other = World::new().await;
    other.retire(&LOGINS, 500).await;
    other.keep(&folder).await.unwrap();
    for (name, bytes) in folder.parquet() {
        let stored = direct.get_object().bucket("same-bytes").key(&name).send().await.unwrap();
        assert!(stored.body.collect().await.unwrap().to_vec() == bytes, "{name}");
    }
}
