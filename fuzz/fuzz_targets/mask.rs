//! What decodes is masked within its columns, and unmask gives it back. Seeds: tests/fixtures/bodies.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use turnstile::keyring::Keyring;
use turnstile_core::decode::decode;
use turnstile_core::mask::{MASKED_CHARS, MaskKind};
use turnstile_core::message::RawBody;
use turnstile_core::stream::LOGIN;

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring::generate().expect("a keyring"));

fuzz_target!(|bytes: &[u8]| {
    let body = RawBody::new(bytes);
    let Ok(decoded) = decode(&LOGIN, &body) else { return };
    let clear: Vec<String> = decoded.login.values().map(|(_, value)| value.text().into_owned()).collect();
    let masked = KEYRING.masker(MaskKind::Seal).mask(decoded.login);
    for ((field, stored), clear) in masked.values().zip(clear).filter(|((field, _), _)| field.is_masked()) {
        let Some(text) = stored.text() else { continue };
        assert!(text.len() <= MASKED_CHARS);
        let unmasked = KEYRING.unmasker().unmask(text);
        assert!(unmasked.is_ok_and(|unmasked| unmasked.field == field && unmasked.value == clear));
    }
});
