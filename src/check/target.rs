//! Where a relay would carry events to: whether it can be reached, and is fit for them. Each kind of target says what it finds.

use super::Judgement;
use crate::message::QueueIdentity;
use crate::queue::Queue as _;
use crate::queue::sqs::{QueueFacts, SqsQueue};
use crate::sink::http::{HttpAddress, HttpSink};
use crate::sink::sns::{SnsSink, TopicArn, TopicError};
use crate::sink::{Sink as _, SinkSettings, Target};

/// Looks at it; `own` is the queue that the loader reads.
pub(super) async fn look_at(aim: &SinkSettings, own: Option<&QueueIdentity>) -> Judgement {
    match &aim.target {
        Target::Stdout => Judgement::ok("standard output: nothing to look at"),
        Target::Sqs(address) => match SqsQueue::connect(&aim.queue(address)).await {
            Err(error) => Judgement::error(error.to_string(), error.remedy()),
            Ok(queue) if own == Some(queue.identity()) => Judgement::error(
                format!(
                    "{} is the queue that the loader reads: its events would come back as dead letters",
                    queue.facts().url
                ),
                "give --to another queue",
            ),
            Ok(queue) => of_queue(queue.facts()),
        },
        Target::Sns(topic) => of_topic(topic, SnsSink::connect(topic.clone(), aim.allow_clear_queue).await),
        Target::Http(address) => of_receiver(aim, address).await,
    }
}

fn of_topic(topic: &TopicArn, opened: Result<SnsSink, TopicError>) -> Judgement {
    let kind = if topic.is_fifo() { "a FIFO topic" } else { "a standard topic" };
    match opened {
        Err(error) => Judgement::error(error.to_string(), error.remedy()),
        Ok(sink) if sink.said_nothing() => Judgement::warning(
            format!("{topic}, {kind}, does not say how large a message may be, or is away: 256 KiB are taken for it"),
            "see that the topic can be reached, and grant sns:GetTopicAttributes if it allows more",
        ),
        Ok(sink) => Judgement::ok(format!("{topic}, {kind} that takes {} bytes a call", sink.limits().bytes)),
    }
}

async fn of_receiver(aim: &SinkSettings, address: &HttpAddress) -> Judgement {
    let sink = match HttpSink::at(address.clone(), aim.http.clone()) {
        Ok(sink) => sink,
        Err(error) => return Judgement::error(error.to_string(), error.remedy()),
    };
    match sink.look().await {
        Err(error) => Judgement::error(
            format!("{address} does not answer: {error}"),
            "see that it runs, and that it can be reached from here",
        ),
        // No event was sent, so that only the answer counts, and not what it says.
        Ok(_) if aim.http.secrets.is_none() => Judgement::warning(
            format!("{address} answers; requests are not signed: it cannot know who sends"),
            "name a file of secrets with --http-secrets-file",
        ),
        Ok(_) => Judgement::ok(format!("{address} answers; requests are signed")),
    }
}

fn of_queue(facts: &QueueFacts) -> Judgement {
    let kind = match (facts.fifo, facts.deduplicates_by_group) {
        (false, _) => "a standard queue: what comes again is in it twice, with the same id",
        (true, false) => "a FIFO queue, which drops what comes again within five minutes",
        (true, true) => {
            "a FIFO queue, which drops what comes again within five minutes: each subject is a message group"
        }
    };
    let found = format!("{}, {kind}", facts.url);
    match facts.encrypted {
        true => Judgement::ok(found),
        false => Judgement::warning(
            format!("{found}; none of it is encrypted at rest: users' ids lie readable in it"),
            "set the queue's attribute SqsManagedSseEnabled to true, or KmsMasterKeyId to a key",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    #[test]
    fn a_queue_says_what_becomes_of_repeats_and_is_warned_of_where_it_is_not_encrypted() {
        let facts = |fifo, deduplicates_by_group, encrypted| QueueFacts {
            url: "http://localhost/events".to_owned(),
            identity: QueueIdentity::new("arn"),
            visibility_timeout: None,
            max_receive_count: None,
            retention: None,
            fifo,
            deduplicates_by_group,
            deduplicates_by_content: false,
            encrypted,
        };
        for (fifo, by_group, encrypted, level, said) in [
            (false, false, true, Level::Ok, "is in it twice"),
            (true, false, true, Level::Ok, "drops what comes again"),
            (true, true, true, Level::Ok, "each subject is a message group"),
            (true, false, false, Level::Warning, "encrypted at rest"),
        ] {
            let judged = of_queue(&facts(fifo, by_group, encrypted));
            assert_eq!(judged.level, level, "{judged:?}");
            assert!(judged.found.contains(said), "{judged:?}");
        }
    }
}
