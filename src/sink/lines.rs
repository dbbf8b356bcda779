//! Standard output, or anything that is written to: a line of JSON for each event.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::{Carried, Envelope, Limits, Sink, SinkError};

/// Writes lines.
#[derive(Debug)]
pub struct Lines<W>(Mutex<Output<W>>);

#[derive(Debug)]
struct Output<W> {
    writer: W,
    /// Whether the last call failed, and perhaps left half a line.
    is_broken_off: bool,
}

impl<W: AsyncWrite + Send + Unpin + 'static> Lines<W> {
    /// Writes them here.
    pub fn to(writer: W) -> Self {
        Self(Mutex::new(Output { writer, is_broken_off: false }))
    }
}

impl<W: AsyncWrite + Send + Unpin + 'static> Sink for Lines<W> {
    fn limits(&self) -> Limits {
        Limits { events: 1_000, bytes: 1024 * 1024 }
    }

    async fn carry(&self, events: &[Envelope]) -> Result<Vec<Carried>, SinkError> {
        let mut output = self.0.lock().await;
        // Half a line stands alone: what comes again after it is whole.
        let first = if output.is_broken_off { "\n" } else { "" };
        let lines = events.iter().flat_map(|event| [&*event.body, "\n"]);
        let text: String = std::iter::once(first).chain(lines).collect();
        output.is_broken_off = true;
        let write = async {
            output.writer.write_all(text.as_bytes()).await?;
            output.writer.flush().await
        };
        let written = write.await;
        output.is_broken_off = written.is_err();
        match written {
            Ok(()) => Ok(vec![Carried::Taken; events.len()]),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(SinkError::Gone("nobody reads".to_owned())),
            // A disk that is full may be so no more: what was written of the call comes again.
            Err(error) => Err(SinkError::Away(error.to_string())),
        }
    }
}
