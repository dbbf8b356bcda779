//! Calls that are refused, fail, or are done and not answered; and batches that are done in part.

use futures_util::future::{join, join3};
use stand_ins::sqs::{FaultCounts, Faults, LocalQueue};

use super::survive;

const RECEIVE: &str = "ReceiveMessage";
const DELETE: &str = "DeleteMessageBatch";
const VISIBILITY: &str = "ChangeMessageVisibilityBatch";

/// Often, and not so often that nothing gets through. A lane pauses for longer after each receive that fails.
fn often(call: &str) -> f64 {
    if call == RECEIVE { 0.35 } else { 0.6 }
}

fn counted(of: impl Fn(FaultCounts) -> u64) -> impl Fn(&LocalQueue) -> u64 {
    move |queue| of(queue.fault_counts())
}

async fn survive_throttling(fault: &str, call: &'static str) {
    let faults = Faults { only: Some(call), throttle: often(call), ..Faults::default() };
    survive(fault, faults, counted(|counts| counts.throttle)).await;
}

async fn survive_500s(fault: &str, call: &'static str) {
    let faults = Faults { only: Some(call), error_500: often(call), ..Faults::default() };
    survive(fault, faults, counted(|counts| counts.error_500)).await;
}

async fn survive_lost_replies(fault: &str, call: &'static str) {
    let faults = Faults { only: Some(call), lost_reply: often(call), ..Faults::default() };
    survive(fault, faults, counted(|counts| counts.lost_reply)).await;
}

async fn survive_partial_failures(fault: &str, call: &'static str) {
    let faults = Faults { only: Some(call), partial_batch_failure: often(call), ..Faults::default() };
    survive(fault, faults, counted(|counts| counts.partial_batch_failure)).await;
}

#[tokio::test]
async fn throttled_calls_are_made_again_or_cost_a_redelivery() {
    join3(
        survive_throttling("receive throttled", RECEIVE),
        survive_throttling("delete throttled", DELETE),
        survive_throttling("change of visibility throttled", VISIBILITY),
    )
    .await;
}

#[tokio::test]
async fn calls_that_fail_inside_the_queue_are_made_again_or_cost_a_redelivery() {
    join3(
        survive_500s("receive answered with 500", RECEIVE),
        survive_500s("delete answered with 500", DELETE),
        survive_500s("change of visibility answered with 500", VISIBILITY),
    )
    .await;
}

#[tokio::test]
async fn a_call_whose_reply_is_lost_does_no_harm_when_it_is_made_again() {
    join3(
        survive_lost_replies("reply of a receive lost", RECEIVE),
        survive_lost_replies("reply of a delete lost", DELETE),
        survive_lost_replies("reply of a change of visibility lost", VISIBILITY),
    )
    .await;
}

#[tokio::test]
async fn entries_of_a_batch_that_fail_are_made_again_alone_or_cost_a_redelivery() {
    join(
        survive_partial_failures("entry of a delete batch failed", DELETE),
        survive_partial_failures("entry of a visibility batch failed", VISIBILITY),
    )
    .await;
}
