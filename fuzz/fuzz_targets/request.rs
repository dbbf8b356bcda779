//! Any call to the local SQS server is read or refused without a panic. The first line is the `X-Amz-Target` header, the
//! rest the body. Seeds: tests/fixtures/requests.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stand_ins::sqs::request::parse;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (target, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if let Err(error) = parse(&String::from_utf8_lossy(target), body) {
        assert!(!error.to_string().is_empty());
    }
});
