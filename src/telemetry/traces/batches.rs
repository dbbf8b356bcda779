//! Keeps the spans of a batch until it has ended, and then sends all of them or none.
//!
//! A sampler decides when a trace begins, and so loses the batches that one wants to see. Here the batch has ended when
//! it is decided: where something failed, or went anywhere else than into a row, it is sent, and of the others the
//! share that the sampler asks for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample as _, Span, SpanData, SpanProcessor};

use crate::spans::{MESSAGES, NOTEWORTHY};

/// The most spans of a batch that are kept: one that is tried for hours has its first attempts in its trace.
const MOST_SPANS: usize = 500;

/// Sends whole batches on to `next`. The root of a trace ends last: it is not closed before what was made in it.
#[derive(Debug)]
pub(super) struct WholeBatches<P> {
    next: P,
    sampler: Sampler,
    open: Mutex<HashMap<TraceId, Batch>>,
}

/// What has ended of a batch.
#[derive(Debug, Default)]
struct Batch {
    spans: Vec<SpanData>,
    left_out: i64,
    is_noteworthy: bool,
}

impl<P> WholeBatches<P> {
    /// Before `next`; of the batches in which nothing happened, so large a share is sent.
    pub(super) fn before(next: P, share: f64) -> Self {
        Self { next, sampler: Sampler::TraceIdRatioBased(share), open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<TraceId, Batch>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_in_the_share(&self, trace: TraceId) -> bool {
        let sampled = self.sampler.should_sample(None, trace, "", &SpanKind::Internal, &[], &[]);
        sampled.decision == SamplingDecision::RecordAndSample
    }
}

impl Batch {
    fn take(&mut self, span: SpanData) {
        self.is_noteworthy |= is_noteworthy(&span);
        match self.spans.len() < MOST_SPANS {
            true => self.spans.push(span),
            false => self.left_out += 1,
        }
    }
}

fn is_noteworthy(span: &SpanData) -> bool {
    let went_elsewhere =
        |attribute: &KeyValue| NOTEWORTHY.contains(&attribute.key.as_str()) && attribute.value != Value::I64(0);
    matches!(span.status, Status::Error { .. }) || span.attributes.iter().any(went_elsewhere)
}

/// Whether the queue was asked, and gave nothing.
fn is_of_nothing(root: &SpanData) -> bool {
    let brought = |attribute: &KeyValue| attribute.key.as_str() == MESSAGES && attribute.value != Value::I64(0);
    !root.attributes.iter().any(brought)
}

impl<P: SpanProcessor> SpanProcessor for WholeBatches<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, mut span: SpanData) {
        let trace = span.span_context.trace_id();
        if span.parent_span_id != SpanId::INVALID {
            self.open().entry(trace).or_default().take(span);
            return;
        }
        let Batch { spans, left_out, is_noteworthy: was_noteworthy } = self.open().remove(&trace).unwrap_or_default();
        let is_kept = match was_noteworthy || is_noteworthy(&span) {
            true => true,
            false => !is_of_nothing(&span) && self.is_in_the_share(trace),
        };
        if is_kept {
            if left_out > 0 {
                span.attributes.push(KeyValue::new("turnstile.spans_left_out", left_out));
            }
            spans.into_iter().chain([span]).for_each(|span| self.next.on_end(span));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::message::{ProducerContext, QueueIdentity};
    use crate::spans::{self, Ended, Settlement};

    /// Where a test finds what was sent on.
    #[derive(Clone, Debug, Default)]
    struct Sent(Arc<Mutex<Vec<SpanData>>>);

    impl SpanProcessor for Sent {
        fn on_start(&self, _: &mut Span, _: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().unwrap().push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    /// What is sent of what happens, if so large a share is.
    fn sent_of(share: f64, happens: impl FnOnce()) -> Vec<SpanData> {
        let sent = Sent::default();
        let batches = WholeBatches::before(sent.clone(), share);
        let provider = SdkTracerProvider::builder().with_span_processor(batches).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer.with_context_activation(false));
        tracing::subscriber::with_default(subscriber, happens);
        std::mem::take(&mut *sent.0.lock().unwrap())
    }

    fn queue() -> QueueIdentity {
        QueueIdentity::new("arn:aws:sqs:us-east-1:000000000000:logins")
    }

    /// A batch that ends like this, after so many attempts.
    fn batch(messages: usize, ended: Ended, attempts: usize) {
        let received = spans::receive(&queue());
        spans::received(&received, messages);
        if messages == 0 {
            return;
        }
        let producer = |span_id| ProducerContext { trace_id: 1, span_id, is_sampled: true };
        let producers = (0..messages as u64).map(|n| producer(1 + n / 2));
        let process = spans::process(&received, &queue(), messages, producers);
        process.in_scope(|| {
            (0..attempts).for_each(|_| drop(spans::transaction("copy", messages)));
            let settling = spans::settle(&queue(), Settlement::Delete, messages);
            spans::processed(&process, ended);
            drop((received, process.clone()));
            drop(settling);
        });
    }

    #[test]
    fn a_batch_is_sent_whole_and_its_root_last() {
        let sent = sent_of(1.0, || batch(3, Ended { loaded: 3, ..Ended::default() }, 1));
        let names: Vec<&str> = sent.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["transaction", "settle logins", "process logins", "receive logins"]);
        let root = sent.last().unwrap();
        assert_eq!(root.parent_span_id, SpanId::INVALID);
        let of = |span: &SpanData| sent.iter().find(|other| other.span_context.span_id() == span.parent_span_id);
        assert!(sent[..2].iter().all(|span| of(span).unwrap().name == "process logins"));
        assert_eq!(of(&sent[2]).unwrap().name, "receive logins");
        assert_eq!(sent[2].links.len(), 2, "three messages of two spans");
    }

    #[test]
    fn a_batch_is_linked_to_no_more_producers_than_backends_keep() {
        let messages = 4 * spans::MOST_LINKS;
        let sent = sent_of(1.0, || batch(messages, Ended::default(), 1));
        let process = sent.iter().find(|span| span.name == "process logins").unwrap();
        assert_eq!((process.links.len(), process.links.dropped_count), (spans::MOST_LINKS, 0));
    }

    #[test]
    fn of_batches_in_which_nothing_happened_the_share_is_sent_and_of_the_others_all() {
        let loaded = Ended { loaded: 3, duplicates: 1, ..Ended::default() };
        assert_eq!(sent_of(0.0, || batch(4, loaded, 1)).len(), 0);
        for ended in
            [Ended { dead_lettered: 1, ..loaded }, Ended { returned: 1, ..loaded }, Ended { released: 1, ..loaded }]
        {
            assert_eq!(sent_of(0.0, || batch(4, ended, 1)).len(), 4, "{ended:?}");
        }
        let failed = sent_of(0.0, || {
            let received = spans::receive(&queue());
            spans::failed(&received, "timeout", None);
        });
        assert_eq!(failed.len(), 1);
    }

    #[test]
    fn asking_in_vain_is_not_sent() {
        assert_eq!(sent_of(1.0, || batch(0, Ended::default(), 0)).len(), 0);
    }

    #[test]
    fn a_batch_that_is_tried_for_ever_keeps_its_first_attempts_and_says_how_many_it_left_out() {
        let sent = sent_of(1.0, || batch(1, Ended::default(), MOST_SPANS + 7));
        assert_eq!(sent.len(), MOST_SPANS + 1);
        let left_out =
            sent.last().unwrap().attributes.iter().find(|one| one.key.as_str() == "turnstile.spans_left_out");
        // The attempts that were too many, and the two spans that ended after them.
        assert_eq!(left_out.unwrap().value, Value::I64(9));
    }
}
