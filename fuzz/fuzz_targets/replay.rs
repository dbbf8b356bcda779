//! A sealed body opens to the very bytes and attributes for its own message, and for no other; bytes that nobody sealed never
//! open. Seeds: tests/fixtures/bodies.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use turnstile::keyring::Keyring;
use turnstile_core::decode::decode;
use turnstile_core::message::{Attributes, MessageHash, RawBody};
use turnstile_core::seal::SealedBody;
use turnstile_core::stream::LOGIN;

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring::generate().expect("a keyring"));

const MESSAGE: MessageHash = MessageHash::from_bytes([1; 32]);
const ANOTHER: MessageHash = MessageHash::from_bytes([2; 32]);

fuzz_target!(|bytes: &[u8]| {
    let opener = KEYRING.body_opener();
    for forged in [bytes.to_vec(), [KEYRING.active().as_str().as_bytes(), b".", bytes].concat()] {
        assert!(opener.open(MESSAGE, &SealedBody::from_bytes(forged)).is_err());
    }
    let body = RawBody::new(bytes);
    let name = String::from_utf8_lossy(bytes).into_owned();
    for attributes in [Attributes::default(), Attributes::from_iter([(name, bytes.to_vec())])] {
        let (hash, sealed) = KEYRING.body_sealer().seal(MESSAGE, &body, &attributes);
        assert!(opener.open(ANOTHER, &sealed).is_err());
        let (opened, with) = opener.open(MESSAGE, &sealed).expect("the body that was sealed");
        assert!(opened == body && with == attributes && KEYRING.body_sealer().hash(&opened) == hash);
        let code = |body| match decode(&LOGIN, body) {
            Ok(decoded) => decoded.login.values().map(|(_, value)| value.text().into_owned()).collect(),
            Err(rejection) => vec![rejection.code().to_owned()],
        };
        assert!(code(&opened) == code(&body));
    }
});
