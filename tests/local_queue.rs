//! `turnstile local-queue` as a process: what it says when others could reach it, and who is answered.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A process that says where it listens.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_turnstile"))
            .arg("local-queue")
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).unwrap_or_default().split(' ').next().unwrap_or_default();
        Self { address: address.replace("0.0.0.0", "127.0.0.1"), process }
    }

    async fn health_of(&self, host: &str) -> String {
        let mut socket = TcpStream::connect(&self.address).await.unwrap();
        let ask = format!("GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        socket.write_all(ask.as_bytes()).await.unwrap();
        let mut reply = String::new();
        socket.read_to_string(&mut reply).await.unwrap();
        reply
    }

    /// Ends it, and gives what it has logged.
    fn end(mut self) -> String {
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM).unwrap();
        let mut log = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(self.process.wait().unwrap().success(), "{log}");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended by a test that came so far.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[tokio::test]
async fn a_local_queue_warns_when_other_machines_can_reach_it() {
    for (listen, warns) in [("127.0.0.1:0", false), ("0.0.0.0:0", true)] {
        let log = Server::start(&["--listen", listen]).end();
        assert_eq!(log.contains("can be reached from other machines"), warns, "{listen}: {log}");
        assert_eq!(log.contains("WARN"), warns, "{listen}: {log}");
    }
}

#[tokio::test]
async fn a_local_queue_answers_to_the_host_names_that_it_was_given() {
    let server = Server::start(&["--listen=127.0.0.1:0", "--host-name=queue,queue.internal"]);
    for (host, answered) in [("queue", true), ("queue.internal:80", true), ("localhost", true), ("other", false)] {
        let reply = server.health_of(host).await;
        assert_eq!(reply.starts_with("HTTP/1.1 200 "), answered, "{host}: {reply}");
    }
    server.end();
}
