//! Standard output, or anything that is written to: a line of JSON for each event.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::{Carried, Envelope, Limits, Sink, SinkError};

/// Writes lines.
#[derive(Debug)]
pub struct Lines<W>(Mutex<W>);

impl<W: AsyncWrite + Send + Unpin + 'static> Lines<W> {
    /// Writes them here.
    pub fn to(writer: W) -> Self {
        Self(Mutex::new(writer))
    }
}

impl<W: AsyncWrite + Send + Unpin + 'static> Sink for Lines<W> {
    fn limits(&self) -> Limits {
        Limits { events: 1_000, bytes: 1024 * 1024 }
    }

    async fn carry(&self, events: &[Envelope]) -> Result<Vec<Carried>, SinkError> {
        let text: String = events.iter().flat_map(|event| [&*event.body, "\n"]).collect();
        let mut writer = self.0.lock().await;
        let write = async {
            writer.write_all(text.as_bytes()).await?;
            writer.flush().await
        };
        match write.await {
            Ok(()) => Ok(vec![Carried::Taken; events.len()]),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(SinkError::Gone("nobody reads".to_owned())),
            // A disk that is full may be so no more: what was written of the call comes again.
            Err(error) => Err(SinkError::Away(error.to_string())),
        }
    }
}
