//! Any bytes decode without a panic, and a rejection has a known code and a place in the body. Seeds: tests/fixtures/bodies.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turnstile_core::decode::{Form, Rejection};
use turnstile_core::fault::{Fault, locate};
use turnstile_core::mask::Unmasker;
use turnstile_core::message::RawBody;
use turnstile_core::stream::LOGIN;

fuzz_target!(|bytes: &[u8]| {
    let body = RawBody::new(bytes);
    for form in [Form::Login, Form::Event(Unmasker::new(Vec::new()))] {
        let Err(rejection) = form.read(&LOGIN, &body) else { continue };
        assert!(Rejection::CODES.contains(&rejection.code()));
        let fault = locate(&form, &LOGIN, &body, &rejection).expect("a body has a fault where it is rejected");
        assert!(fault.offset + fault.length <= body.len());
        assert_eq!(Fault::read(&LOGIN, &fault.stored()), Some(fault));
    }
});
