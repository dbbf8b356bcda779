//! A sealed body opens to the very bytes and decodes as they do; bytes that nobody sealed never open. Seeds:
//! tests/fixtures/bodies.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use turnstile::decode::decode;
use turnstile::keyring::Keyring;
use turnstile::message::RawBody;
use turnstile::seal::SealedBody;

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring::generate().expect("a keyring"));

fuzz_target!(|bytes: &[u8]| {
    let opener = KEYRING.body_opener();
    for forged in [bytes.to_vec(), [KEYRING.active().as_str().as_bytes(), b".", bytes].concat()] {
        assert!(opener.open(&SealedBody::from_bytes(forged)).is_err());
    }
    let body = RawBody::new(bytes);
    let (hash, sealed) = KEYRING.body_sealer().seal(&body);
    let opened = opener.open(&sealed).expect("the body that was sealed");
    assert!(opened == body && KEYRING.body_sealer().hash(&opened) == hash);
    let code = |body| decode(body).map(|decoded| decoded.login.user_id).map_err(|rejection| rejection.code());
    assert!(code(&opened) == code(&body));
});
