//! What a message costs the queue in a box: one receive and one delete of ten, by a small and by a large backlog.
//!
//! The server is a process of its own, so that its CPU time can be told from the driver's, which speaks HTTP by hand.
//! Linux only: CPU time and memory are read from /proc.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

const BACKLOGS: [usize; 2] = [1_000, 1_000_000];

/// Messages received and deleted for one figure.
const MEASURED: usize = 100_000;

const BODY: &str = r#"{\"user_id\":\"424cdd21-063a-43a7-b91b-7ca1a833afae\",\"app_version\":\"2.3.0\",\"device_type\":\"android\",\"ip\":\"199.172.111.135\",\"locale\":\"RU\",\"device_id\":\"593-47-5928\"}"#;

fn main() -> Result<()> {
    for backlog in BACKLOGS {
        let mut server = Server::start()?;
        let before = server.memory()?;
        for _ in 0..backlog / 10 {
            server.send_ten()?;
        }
        let bytes = (server.memory()?.saturating_sub(before)) / backlog as u64;
        let spent = server.drain_and_refill(backlog)?;
        let rate = |time: Duration| MEASURED as f64 / time.as_secs_f64();
        writeln!(
            std::io::stdout(),
            "backlog {backlog:>9}: {:>7.0} messages/s of server CPU, {:>7.0} messages/s on one connection, {bytes} \
             bytes of memory a message",
            rate(spent.cpu),
            rate(spent.wall),
        )?;
    }
    Ok(())
}

#[derive(Default)]
struct Spent {
    cpu: Duration,
    wall: Duration,
}

struct Server {
    process: Child,
    connection: BufReader<TcpStream>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is as good.
        self.process.kill().and_then(|()| self.process.wait().map(drop)).unwrap_or_default();
    }
}

impl Server {
    fn start() -> Result<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_turnstile"))
            .args(["local-queue", "--listen=127.0.0.1:0", "--visibility-timeout=1h"])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut greeting = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut greeting)?;
        let address = greeting.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).context("no address")?;
        let connection = TcpStream::connect(address)?;
        connection.set_nodelay(true)?;
        Ok(Self { process, connection: BufReader::new(connection) })
    }

    /// Receives and deletes, and refills between without counting that, so that the backlog stays what it is.
    fn drain_and_refill(&mut self, backlog: usize) -> Result<Spent> {
        let mut spent = Spent::default();
        let at_once = (backlog / 2).min(MEASURED);
        for _ in 0..MEASURED / at_once {
            let (cpu, started) = (self.cpu()?, Instant::now());
            for _ in 0..at_once / 10 {
                self.receive_and_delete_ten()?;
            }
            spent.wall += started.elapsed();
            spent.cpu += self.cpu()?.saturating_sub(cpu);
            for _ in 0..at_once / 10 {
                self.send_ten()?;
            }
        }
        Ok(spent)
    }

    fn send_ten(&mut self) -> Result<()> {
        let entries: Vec<String> = (0..10).map(|id| format!(r#"{{"Id":"{id}","MessageBody":"{BODY}"}}"#)).collect();
        let reply = self.call("SendMessageBatch", &format!(r#""Entries":[{}]"#, entries.join(",")))?;
        ensure!(reply.contains(r#""Failed":[]"#), "a send failed");
        Ok(())
    }

    fn receive_and_delete_ten(&mut self) -> Result<()> {
        let attributes = r#""MessageSystemAttributeNames":["All"],"MessageAttributeNames":["All"]"#;
        let reply =
            self.call("ReceiveMessage", &format!(r#""MaxNumberOfMessages":10,"WaitTimeSeconds":1,{attributes}"#))?;
        let handles = reply.split(r#""ReceiptHandle":""#).skip(1).filter_map(|rest| rest.split('"').next());
        let entries: Vec<String> =
            handles.enumerate().map(|(id, handle)| format!(r#"{{"Id":"{id}","ReceiptHandle":"{handle}"}}"#)).collect();
        ensure!(entries.len() == 10, "a receive brought {} messages", entries.len());
        let reply = self.call("DeleteMessageBatch", &format!(r#""Entries":[{}]"#, entries.join(",")))?;
        ensure!(reply.contains(r#""Failed":[]"#), "a delete failed");
        Ok(())
    }

    fn call(&mut self, operation: &str, parameters: &str) -> Result<String> {
        let body = format!(r#"{{"QueueUrl":"http://x/000000000000/logins",{parameters}}}"#);
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.{operation}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.connection.get_mut().write_all([head, body].concat().as_bytes())?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.connection.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut reply = vec![0; length];
        self.connection.read_exact(&mut reply)?;
        Ok(String::from_utf8(reply)?)
    }

    /// The CPU time of all the server's threads.
    fn cpu(&self) -> Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let times = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanos += times.split(' ').next().context("no times")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// The server's resident memory in bytes.
    fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}
