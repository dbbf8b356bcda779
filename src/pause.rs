//! Whether an operator wants nothing to be received: what the database last said of it, which all lanes of a process heed.

use time::OffsetDateTime;
use tokio::sync::watch;

/// Whether receiving is paused. Nothing is known at first, and then it is not.
#[derive(Debug)]
pub struct Pause(watch::Sender<Option<OffsetDateTime>>);

impl Default for Pause {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Pause {
    /// Notes what the database says: since when receiving is paused; nothing where it is not.
    pub fn heard(&self, since: Option<OffsetDateTime>) {
        self.0.send_if_modified(|known| std::mem::replace(known, since) != since);
    }

    /// Since when receiving is paused, by the database's clock; nothing where it is not.
    pub fn since(&self) -> Option<OffsetDateTime> {
        *self.0.borrow()
    }

    /// Waits until receiving is not paused: not at all where it is not.
    pub async fn is_over(&self) {
        self.0.subscribe().wait_for(Option::is_none).await.map(drop).unwrap_or_default();
    }

    /// Waits until something else is known than this.
    pub async fn is_other_than(&self, known: Option<OffsetDateTime>) {
        self.0.subscribe().wait_for(|now| *now != known).await.map(drop).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn whoever_waits_for_the_end_of_a_pause_goes_on_when_it_is_heard_of() {
        let (pause, since) = (Pause::default(), OffsetDateTime::UNIX_EPOCH);
        assert!(pause.since().is_none() && pause.is_over().now_or_never().is_some(), "nothing is paused at first");
        pause.heard(Some(since));
        let mut over = Box::pin(pause.is_over());
        assert!(pause.since() == Some(since) && over.as_mut().now_or_never().is_none());
        assert!(pause.is_other_than(None).now_or_never().is_some());
        assert!(pause.is_other_than(Some(since)).now_or_never().is_none(), "heard again, it is no news");
        pause.heard(None);
        assert!(over.now_or_never().is_some() && pause.since().is_none());
    }
}
