//! What the pure core costs a message, each step next to the limit that no implementation of ours can pass.

// Clippy's leave for tests does not reach benches.
#![allow(clippy::expect_used)]
#![allow(missing_docs)]

use std::hint::black_box;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;
use turnstile::decode::{Decoded, decode};
use turnstile::keyring::Keyring;
use turnstile::login::UserLogin;
use turnstile::mask::MaskKind;
use turnstile::message::RawBody;

/// A login of the usual size.
const BODY: &str = r#"{"user_id": "5f3c9d6e-1b7a-4c2e-9f10-2d8e4b6a7c90", "app_version": "2.3.0", "device_type": "android", "ip": "198.51.100.23", "locale": "RU", "device_id": "717-22-9034"}"#;

fn login() -> UserLogin {
    let Decoded { login, .. } = decode(&RawBody::new(BODY)).map_err(|rejection| rejection.code()).expect("a login");
    login
}

fn decoding(criterion: &mut Criterion) {
    let body = RawBody::new(BODY);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode", |bencher| bencher.iter(|| decode(black_box(&body)).is_ok()));
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
    let mut group = criterion.benchmark_group("mask");
    group.throughput(Throughput::Elements(1));
    for kind in [MaskKind::Seal, MaskKind::Token, MaskKind::Base64] {
        let masker = keyring.masker(kind);
        group.bench_function(kind.to_string(), |bencher| {
            bencher.iter_batched(login, |login| masker.mask(login), BatchSize::SmallInput);
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
    group.bench_function("hash and seal", |bencher| bencher.iter(|| sealer.seal(black_box(&body))));
    group.finish();
}

criterion_group!(benches, decoding, masking, hashing);
criterion_main!(benches);
