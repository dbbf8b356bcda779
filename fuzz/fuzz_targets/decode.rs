//! Any bytes decode without a panic, and a rejection has a known code. Seeds: tests/fixtures/bodies.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turnstile::decode::{Rejection, decode};
use turnstile::message::RawBody;
use turnstile::stream::LOGIN;

fuzz_target!(|bytes: &[u8]| {
    if let Err(rejection) = decode(&LOGIN, &RawBody::new(bytes)) {
        assert!(Rejection::CODES.contains(&rejection.code()));
    }
});
