//! Credentials that expire before their time, and come back: new ones, or the same.

use std::path::Path;

use aws_config::credential_process::CredentialProcessProvider;
use aws_sdk_sqs::config::SharedCredentialsProvider;
use serde_json::json;
use stand_ins::sqs::QueueOptions;

use super::{Siege, small_batches, times};
use crate::support::pipeline::Pipeline;
use crate::support::scripted_http::aws_at;
use crate::support::site::QUEUE;
use crate::support::wait_until;

/// Hands out the credentials with this access key id from here on.
fn hand_out(file: &Path, access_key_id: &str) {
    let credentials =
        json!({ "Version": 1, "AccessKeyId": access_key_id, "SecretAccessKey": "x", "SessionToken": "x" });
    let new = file.with_extension("new");
    std::fs::write(&new, credentials.to_string()).unwrap();
    std::fs::rename(&new, file).unwrap();
}

/// Every key of the loader expires, the calls that bear it are refused, and only then there is another.
#[tokio::test]
async fn when_credentials_expire_the_provider_is_asked_until_it_has_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    let key = |n: usize| format!("key{n}");
    hand_out(&file, &key(0));
    let pipeline = Pipeline::new().await;
    let provider = CredentialProcessProvider::new(format!("cat {}", file.display()));
    let aws = aws_at(&pipeline.sqs.endpoint()).into_builder();
    let aws = aws.credentials_provider(SharedCredentialsProvider::new(provider)).build();
    let loader = pipeline.start_as(&aws, 4, small_batches()).await;
    let siege = Siege { pipeline, loader };

    let refused = || siege.pipeline.sqs.fault_counts().expired_token;
    for n in 0.. {
        let before = refused();
        siege.pipeline.sqs.set_expired(&key(n), true);
        siege.pipeline.fill(20, 5);
        wait_until("calls are refused", async || refused() >= before + 10).await;
        hand_out(&file, &key(n + 1));
        siege.pipeline.is_drained().await;
        if refused() >= times() {
            break;
        }
    }
    let times = refused();
    siege.survived("call refused because its credentials had expired, until new ones came", times).await;
}

#[tokio::test]
async fn when_expired_credentials_are_taken_again_the_loader_goes_on() {
    let siege = Siege::begin(QueueOptions::new(QUEUE), 4).await;
    let refused = || siege.pipeline.sqs.fault_counts().expired_token;
    while refused() < times() {
        let before = refused();
        siege.pipeline.fill(20, 5);
        siege.pipeline.sqs.set_expired("AKIDEXAMPLE", true);
        wait_until("calls are refused", async || refused() >= before + 10).await;
        siege.pipeline.sqs.set_expired("AKIDEXAMPLE", false);
        siege.pipeline.is_drained().await;
    }
    let times = refused();
    siege.survived("call refused because its credentials had expired, until the same were taken again", times).await;
}
