//! The local SQS server as a process of its own, and HTTP by hand to it: so cheap that it hardly counts.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::cpu;

/// `turnstile local-queue` on a free port, stopped when dropped.
pub(crate) struct RawQueue {
    process: Child,
    endpoint: String,
    connection: BufReader<TcpStream>,
}

impl Drop for RawQueue {
    fn drop(&mut self) {
        // Already gone is as good.
        self.process.kill().and_then(|()| self.process.wait().map(drop)).unwrap_or_default();
    }
}

impl RawQueue {
    /// Starts the server with one queue, `logins`.
    pub(crate) fn start() -> Result<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_turnstile"))
            .args(["local-queue", "--listen=127.0.0.1:0", "--visibility-timeout=1h"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut greeting = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut greeting)?;
        let address = greeting.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).context("no address")?;
        let address = address.trim().to_owned();
        Ok(Self { process, endpoint: format!("http://{address}"), connection: connect(&address)? })
    }

    /// Its address, as `AWS_ENDPOINT_URL` wants it.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Another connection to the same server, for a thread of its own.
    pub(crate) fn another_connection(&self) -> Result<Connection> {
        Ok(Connection(connect(self.address()?)?))
    }

    /// Takes a new connection: the server closes one that was idle for two minutes.
    pub(crate) fn reconnect(&mut self) -> Result<()> {
        self.connection = connect(self.address()?)?;
        Ok(())
    }

    fn address(&self) -> Result<&str> {
        self.endpoint.strip_prefix("http://").context("no address")
    }

    /// Sends up to ten messages in one call.
    pub(crate) fn send(&mut self, bodies: &[String]) -> Result<()> {
        send(&mut self.connection, bodies)
    }

    /// Receives ten messages and deletes them.
    pub(crate) fn receive_and_delete_ten(&mut self) -> Result<()> {
        let parameters = json!({"MaxNumberOfMessages": 10, "WaitTimeSeconds": 1,
            "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]});
        let reply = call(&mut self.connection, "ReceiveMessage", parameters)?;
        let handles = reply.split(r#""ReceiptHandle":""#).skip(1).filter_map(|rest| rest.split('"').next());
        let entries: Vec<Value> =
            handles.enumerate().map(|(id, handle)| json!({"Id": id.to_string(), "ReceiptHandle": handle})).collect();
        ensure!(entries.len() == 10, "a receive brought {} messages", entries.len());
        let reply = call(&mut self.connection, "DeleteMessageBatch", json!({"Entries": entries}))?;
        ensure!(reply.contains(r#""Failed":[]"#), "a delete failed");
        Ok(())
    }

    /// How many messages it holds, whether they can be received now or not.
    pub(crate) fn depth(&mut self) -> Result<u64> {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let reply = call(&mut self.connection, "GetQueueAttributes", json!({"AttributeNames": names}))?;
        let reply: Value = serde_json::from_str(&reply)?;
        let count = |name| reply["Attributes"][name].as_str().and_then(|text| text.parse::<u64>().ok());
        names.into_iter().map(count).sum::<Option<u64>>().context("no counts")
    }

    /// The CPU time that the server has taken so far, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        cpu::of_process(self.process.id())
    }

    /// The server's resident memory in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}

/// A connection for sending.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Sends up to ten messages in one call.
    pub(crate) fn send(&mut self, bodies: &[String]) -> Result<()> {
        send(&mut self.0, bodies)
    }
}

fn connect(address: &str) -> Result<BufReader<TcpStream>> {
    let connection = TcpStream::connect(address)?;
    connection.set_nodelay(true)?;
    Ok(BufReader::new(connection))
}

fn send(connection: &mut BufReader<TcpStream>, bodies: &[String]) -> Result<()> {
    let entry = |(id, body): (usize, &String)| json!({"Id": id.to_string(), "MessageBody": body});
    let entries: Vec<Value> = bodies.iter().enumerate().map(entry).collect();
    let reply = call(connection, "SendMessageBatch", json!({"Entries": entries}))?;
    ensure!(reply.contains(r#""Failed":[]"#), "a send failed");
    Ok(())
}

fn call(connection: &mut BufReader<TcpStream>, operation: &str, mut parameters: Value) -> Result<String> {
    parameters["QueueUrl"] = json!("http://x/000000000000/logins");
    let body = parameters.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.{operation}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.get_mut().write_all([head, body].concat().as_bytes())?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(connection.read_line(&mut line)? > 0, "the queue has closed the connection");
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut reply = vec![0; length];
    connection.read_exact(&mut reply)?;
    Ok(String::from_utf8(reply)?)
}
