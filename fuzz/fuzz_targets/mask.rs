//! What decodes is masked within its columns, and unmask gives it back. Seeds: tests/fixtures/bodies.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use turnstile::decode::decode;
use turnstile::keyring::Keyring;
use turnstile::mask::{MASKED_CHARS, MaskKind};
use turnstile::message::RawBody;

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring::generate().expect("a keyring"));

fuzz_target!(|bytes: &[u8]| {
    let Ok(decoded) = decode(&RawBody::new(bytes)) else { return };
    let device_id = decoded.login.device_id.clone();
    let masked = KEYRING.masker(MaskKind::Seal).mask(decoded.login);
    assert!(masked.masked_ip.len() <= MASKED_CHARS && masked.masked_device_id.len() <= MASKED_CHARS);
    let unmasked = KEYRING.unmasker().unmask(&masked.masked_device_id);
    assert!(unmasked.is_ok_and(|unmasked| unmasked.value == device_id));
});
