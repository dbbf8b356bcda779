//! What the pure core costs a message, each step next to the limit that no implementation of ours can pass.
//!
//! `cargo bench --bench core`

// Clippy's leave for tests does not reach benches.
#![allow(clippy::expect_used)]
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::hint::black_box;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;
use time::OffsetDateTime;
use turnstile::batch::Sorted;
use turnstile::decode::{Decoded, Form, decode};
use turnstile::keyring::Keyring;
use turnstile::login::UserLogin;
use turnstile::mask::MaskKind;
use turnstile::message::{
    Attributes, Delivery, Identifier, Identity, MessageHash, MessageId, QueueIdentity, RawBody, ReceiptHandle,
    ReceivedMessage, SentAt,
};
use turnstile::stream::LOGIN;
use turnstile::verdict::{Judge, Verdict};

/// A login of the usual size.
const BODY: &str = r#"{"user_id": "5f3c9d6e-1b7a-4c2e-9f10-2d8e4b6a7c90", "app_version": "2.3.0", "device_type": "android", "ip": "198.51.100.23", "locale": "RU", "device_id": "717-22-9034"}"#;

fn login(body: &RawBody) -> UserLogin<'_> {
    let Decoded { login, .. } = decode(&LOGIN, body).map_err(|rejection| rejection.code()).expect("a login");
    login
}

fn decoding(criterion: &mut Criterion) {
    let body = RawBody::new(BODY);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode", |bencher| bencher.iter(|| decode(&LOGIN, black_box(&body)).is_ok()));
    group.bench_function("limit: serde_json into a struct, no rule checked", |bencher| {
        bencher.iter(|| serde_json::from_slice::<Unchecked>(black_box(body.as_bytes())).is_ok());
    });
    group.finish();
}

/// What serde_json alone reads: it lets unknown and over-long values pass.
#[derive(Deserialize)]
#[expect(dead_code, reason = "reading is all that is measured")]
struct Unchecked {
    user_id: String,
    app_version: String,
    device_type: String,
    ip: String,
    locale: Option<String>,
    device_id: String,
}

fn masking(criterion: &mut Criterion) {
    let keyring = Keyring::generate().expect("a keyring");
    let body = RawBody::new(BODY);
    let mut group = criterion.benchmark_group("mask");
    group.throughput(Throughput::Elements(1));
    for kind in [MaskKind::Seal, MaskKind::Token, MaskKind::Base64] {
        let masker = keyring.masker(kind);
        group.bench_function(kind.to_string(), |bencher| {
            bencher.iter_batched(|| login(&body), |login| masker.mask(login), BatchSize::SmallInput);
        });
    }
    group.bench_function("limit: the cipher alone, twice", |bencher| {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &[1; 32]).expect("a key"));
        let seal = |text: &mut [u8]| {
            key.seal_in_place_separate_tag(Nonce::assume_unique_for_key([2; 12]), Aad::empty(), text).is_ok()
        };
        bencher.iter(|| seal(black_box(&mut [3; 16])) && seal(black_box(&mut [4; 11])));
    });
    group.finish();
}

fn hashing(criterion: &mut Criterion) {
    let body = RawBody::new(BODY);
    let sealer = Keyring::generate().expect("a keyring").body_sealer();
    let mut group = criterion.benchmark_group("body");
    group.throughput(Throughput::Elements(1));
    group.bench_function("hash", |bencher| bencher.iter(|| sealer.hash(black_box(&body))));
    group.bench_function("limit: keyed BLAKE3 alone", |bencher| {
        bencher.iter(|| blake3::keyed_hash(&[1; 32], black_box(body.as_bytes())));
    });
    group.bench_function("hash and seal", |bencher| {
        bencher.iter(|| sealer.seal(MessageHash::from_bytes([7; 32]), black_box(&body), &Attributes::default()))
    });
    group.finish();
}

fn identifying(criterion: &mut Criterion) {
    let message = message(0);
    let message_id = message.delivery.message_id.as_str().as_bytes();
    let mut group = criterion.benchmark_group("identity");
    group.throughput(Throughput::Elements(1));
    group.bench_function("message", |bencher| {
        let identifier = identifier("message-id");
        bencher.iter(|| identifier.message(black_box(&message.delivery.message_id)));
    });
    group.bench_function("limit: keyed BLAKE3 of the MessageId alone", |bencher| {
        bencher.iter(|| blake3::keyed_hash(&[1; 32], black_box(message_id)));
    });
    group.bench_function("field", |bencher| {
        let identifier = identifier("field:/user_id");
        bencher.iter(|| identifier.key(black_box(&message.body), &message.attributes, None).is_ok());
    });
    group.bench_function("limit: serde_json into that field, and keyed BLAKE3 of it", |bencher| {
        bencher.iter(|| {
            let field = serde_json::from_slice::<OneField<'_>>(black_box(message.body.as_bytes())).expect("an object");
            blake3::keyed_hash(&[1; 32], field.user_id.as_bytes())
        });
    });
    group.finish();
}

#[derive(Deserialize)]
struct OneField<'b> {
    user_id: &'b str,
}

/// The whole verdict: its parts are body (hash and seal), decode, identity and mask.
fn judging(criterion: &mut Criterion) {
    let judge = judge();
    let mut group = criterion.benchmark_group("judge");
    group.throughput(Throughput::Elements(1));
    group.bench_function("a login", |bencher| {
        bencher.iter_batched(|| message(0), |message| judge.judge(message), BatchSize::SmallInput);
    });
    group.finish();
}

fn batching(criterion: &mut Criterion) {
    let judge = judge();
    let verdicts = || (0..MESSAGES_A_BATCH).map(|n| judge.judge(message(n))).collect::<Vec<Verdict>>();
    let hashes: Vec<MessageHash> = verdicts().iter().map(|verdict| verdict.hash).collect();
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(MESSAGES_A_BATCH));
    group.bench_function("batch", |bencher| {
        bencher.iter_batched(verdicts, |verdicts| Sorted::from_verdicts(verdicts, 3), BatchSize::LargeInput);
    });
    group.bench_function("limit: the hashes alone, sorted", |bencher| {
        let sort = |mut hashes: Vec<MessageHash>| {
            hashes.sort_unstable();
            hashes
        };
        bencher.iter_batched(|| hashes.clone(), sort, BatchSize::LargeInput);
    });
    group.bench_function("limit: the hashes alone, in a BTreeMap", |bencher| {
        bencher.iter_batched(
            || hashes.clone(),
            |hashes| hashes.into_iter().map(|hash| (hash, ())).collect::<BTreeMap<_, _>>(),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// The loader's default.
const MESSAGES_A_BATCH: u64 = 500;

fn judge() -> Judge {
    let keyring = Keyring::generate().expect("a keyring");
    Judge {
        form: Form::Login,
        identifier: identifier("message-id"),
        masker: keyring.masker(MaskKind::Seal),
        sealer: keyring.body_sealer(),
        max_attempts: 3,
    }
}

fn identifier(identity: &str) -> Identifier {
    let identity: Identity = identity.parse().expect("a scheme");
    let queue = QueueIdentity::new("arn:aws:sqs:us-east-1:000000000000:logins");
    Keyring::generate().expect("a keyring").identifier(identity, &queue)
}

/// A message as Amazon's queue delivers it: its receipt handle is longer than the body.
fn message(number: u64) -> ReceivedMessage {
    ReceivedMessage {
        delivery: Delivery {
            message_id: MessageId::new(format!("5fea7756-0ea4-451a-a703-{number:012x}")),
            receipt: ReceiptHandle::new("A".repeat(350)),
            sent_at: SentAt::Queue(OffsetDateTime::UNIX_EPOCH),
            received_at: OffsetDateTime::UNIX_EPOCH,
            receive_count: 1,
        },
        body: RawBody::new(BODY),
        attributes: Attributes::default(),
        producer: None,
        requeued: None,
    }
}

criterion_group!(benches, decoding, masking, hashing, identifying, judging, batching);
criterion_main!(benches);
