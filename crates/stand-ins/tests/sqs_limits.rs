//! Who may call the local SQS server and how much they may ask for, over bare sockets: no client can take all of the
//! machine, no website gets in, and each refusal says why.

// clippy.toml allows these in functions marked as tests, not in what those stand on.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use stand_ins::sqs::{LocalQueue, MAX_HEAD_BYTES, MAX_REQUEST_BYTES, QueueOptions, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a test waits for something that must not happen.
const BRIEFLY: Duration = Duration::from_millis(300);

fn options() -> ServerOptions {
    let queues = vec![QueueOptions::new("logins")];
    ServerOptions { queues, ..ServerOptions::at(SocketAddr::from(([127, 0, 0, 1], 0))) }
}

async fn start(options: ServerOptions) -> LocalQueue {
    LocalQueue::start_with(options).await.unwrap()
}

#[tokio::test]
async fn a_head_or_a_body_over_its_limit_is_refused_with_the_limit() {
    let server = start(options()).await;
    let long = "x".repeat(MAX_HEAD_BYTES);
    let reply = speak(&server, &format!("POST / HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n")).await;
    assert!(reply.starts_with("HTTP/1.1 431 ") && reply.contains("RequestHeaderSectionTooLarge"), "{reply}");
    assert!(reply.contains(&MAX_HEAD_BYTES.to_string()), "{reply}");

    // So long that it is not even read to its end.
    let endless = "x".repeat(8 * MAX_HEAD_BYTES);
    let reply = speak(&server, &format!("POST / HTTP/1.1\r\nHost: localhost\r\nX-Long: {endless}")).await;
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 431 "), "{reply}");

    let body = "x".repeat(MAX_REQUEST_BYTES + 1);
    let chunked = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n";
    let reply = speak(&server, &format!("{chunked}{body}")).await;
    assert!(reply.starts_with("HTTP/1.1 413 ") && reply.contains("RequestEntityTooLarge"), "{reply}");
    assert!(reply.contains(&MAX_REQUEST_BYTES.to_string()), "{reply}");
}

#[tokio::test]
async fn a_client_that_does_not_send_its_request_loses_its_connection() {
    let server = start(ServerOptions { patience: BRIEFLY, ..options() }).await;
    let reply = speak(&server, "POST / HTTP/1.1\r\nHost: local").await;
    assert!(!reply.contains("200 OK"), "{reply}");
    let reply = speak(&server, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{").await;
    assert!(reply.starts_with("HTTP/1.1 408 ") && reply.contains("RequestTimeout"), "{reply}");
}

#[tokio::test]
async fn one_connection_too_many_waits_until_another_closes() {
    let server = start(ServerOptions { max_connections: 2, ..options() }).await;
    let (mut one, mut two) = (connect(&server).await, connect(&server).await);
    for held in [&mut one, &mut two] {
        ask_for_health(held).await;
        answer(held).await;
    }
    let mut three = connect(&server).await;
    ask_for_health(&mut three).await;
    assert!(tokio::time::timeout(BRIEFLY, answer(&mut three)).await.is_err(), "a third connection is served");
    drop(one);
    answer(&mut three).await;
}

#[tokio::test]
async fn a_server_on_loopback_answers_to_its_own_names_only() {
    let server = start(ServerOptions { host_names: vec!["queue.internal".to_owned()], ..options() }).await;
    let list = |host: &str| request(host, "X-Amz-Target: AmazonSQS.ListQueues\r\n", "{}");
    for host in ["localhost:9324", "127.0.0.1", "[::1]:9324", "queue.internal"] {
        let reply = speak(&server, &list(host)).await;
        assert!(reply.contains("200 OK") && reply.contains(&format!("http://{host}/")), "{host}: {reply}");
    }
    let served = server.served().calls;
    for request in [list("evil.example"), request("evil.example", "", "Action=ListQueues"), look("evil.example")] {
        let reply = speak(&server, &request).await;
        assert!(reply.starts_with("HTTP/1.1 403 ") && reply.contains("AccessDenied"), "{reply}");
        for part in ["'evil.example'", "localhost", "queue.internal", "host names"] {
            assert!(reply.contains(part), "{part}: {reply}");
        }
        assert!(!reply.contains("/logins"), "{reply}");
    }
    assert_eq!(server.served().calls, served);
}

#[tokio::test]
async fn a_server_for_other_machines_answers_to_any_name() {
    let everywhere = ServerOptions::at(SocketAddr::from(([0, 0, 0, 0], 0)));
    let server = start(ServerOptions { listen: everywhere.listen, ..options() }).await;
    assert!(speak(&server, &look("anything.example")).await.contains("200 OK"));
}

#[tokio::test]
async fn an_sdk_that_speaks_the_query_protocol_reads_in_xml_what_to_do() {
    let server = start(options()).await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let called = request("localhost", form, "Action=SendMessage&MessageBody=x&Version=2012-11-05");
    let in_url = look("localhost").replace("/health", "/000000000000/logins?Action=SendMessage");
    for request in [called, in_url] {
        let reply = speak(&server, &request).await;
        assert!(reply.starts_with("HTTP/1.1 400 ") && reply.contains("content-type: text/xml"), "{reply}");
        for part in ["<ErrorResponse", "<Code>", "AWS JSON 1.0", "SendMessage was called in the AWS query protocol"] {
            assert!(reply.contains(part), "{part}: {reply}");
        }
    }
    assert_eq!(server.stats("logins").unwrap().visible, 0);
}

fn request(host: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn look(host: &str) -> String {
    format!("GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

async fn connect(server: &LocalQueue) -> TcpStream {
    let address = server.endpoint().trim_start_matches("http://").replace("0.0.0.0", "127.0.0.1");
    TcpStream::connect(address).await.unwrap()
}

async fn ask_for_health(socket: &mut TcpStream) {
    socket.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
}

/// Reads one answer to [`ask_for_health`].
async fn answer(socket: &mut TcpStream) {
    let mut reply = String::new();
    while !reply.ends_with('}') {
        let mut piece = [0; 512];
        let length = tokio::time::timeout(PATIENCE, socket.read(&mut piece)).await.unwrap().unwrap();
        assert_ne!(length, 0, "the connection closed: {reply}");
        reply += &String::from_utf8_lossy(piece.get(..length).unwrap());
    }
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
}

/// Sends bytes on a connection of their own, and gives all that comes back until it closes.
async fn speak(server: &LocalQueue, bytes: &str) -> String {
    let mut socket = connect(server).await;
    // What is refused early may not be read to its end, so that the rest cannot be written.
    socket.write_all(bytes.as_bytes()).await.ok();
    let mut reply = Vec::new();
    // A connection may be reset after its answer.
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut reply)).await.unwrap().ok();
    String::from_utf8_lossy(&reply).into_owned()
}
