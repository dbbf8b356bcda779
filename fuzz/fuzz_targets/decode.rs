//! Any bytes decode without a panic, and a rejection has a known code. Seeds: tests/fixtures/bodies.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turnstile_core::decode::{Rejection, decode};
use turnstile_core::message::RawBody;
use turnstile_core::stream::LOGIN;

fuzz_target!(|bytes: &[u8]| {
    if let Err(rejection) = decode(&LOGIN, &RawBody::new(bytes)) {
        assert!(Rejection::CODES.contains(&rejection.code()));
    }
});
