//! Messages that come again although they should not.

use stand_ins::sqs::Faults;

use super::survive;

#[tokio::test]
async fn a_message_that_comes_again_after_its_delete_is_absorbed() {
    let faults = Faults { redelivery_after_delete: 0.5, ..Faults::default() };
    survive("delivery after delete", faults, |queue| queue.fault_counts().redelivery_after_delete).await;
}

#[tokio::test]
async fn a_message_that_two_lanes_hold_at_once_is_loaded_by_one() {
    let faults = Faults { early_redelivery: 0.5, ..Faults::default() };
    survive("early redelivery", faults, |queue| queue.fault_counts().early_redelivery).await;
}

#[tokio::test]
async fn a_message_that_one_receive_brings_twice_is_loaded_once() {
    let faults = Faults { duplicate_in_receive: 1.0, ..Faults::default() };
    survive("the same message twice in one receive", faults, |queue| queue.fault_counts().duplicate_in_receive).await;
}
