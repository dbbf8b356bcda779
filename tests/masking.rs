//! What a mask hides, what it keeps, and who can undo it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use turnstile::decode::decode;
use turnstile::keyring::{Keyring, Masters};
use turnstile::login::{MaskedLogin, Stored};
use turnstile::mask::{MASKABLE_BYTES, MASKED_CHARS, MaskKind, Masker, UnmaskError, Unmasked, decode_base64};
use turnstile::message::{Attributes, MessageHash, RawBody};
use turnstile::seal::{Key, MasterKey, OpenError, SealedBody};
use turnstile::stream::{Field, Kind, LOGIN, Limit, Stream};
use zeroize::Zeroizing;

const KINDS: [MaskKind; 3] = [MaskKind::Seal, MaskKind::Token, MaskKind::Base64];

/// A keyring whose keys are bytes of the same value, so that its masks can be written down.
fn keyring() -> Keyring {
    masters().derive().unwrap()
}

fn masters() -> Masters {
    Masters::parse(
        "turnstile-keyring v1\n\
         hash hash BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=\n\
         key old AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\
         key new AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n\
         active new\n",
    )
    .unwrap()
}

/// Another key under the same id.
fn impostor() -> Keyring {
    Keyring::parse(
        "turnstile-keyring v1\n\
         hash hash BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=\n\
         key new AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\n\
         active new\n",
    )
    .unwrap()
}

/// What is stored of an address and a device id.
struct Masks {
    ip: String,
    device_id: String,
}

fn masked(keyring: &Keyring, kind: MaskKind, ip: &str, device_id: &str) -> Masks {
    let login = masked_login(keyring, kind, ip, device_id);
    let text = |column| login.value(column).unwrap().text().unwrap().to_owned();
    Masks { ip: text("masked_ip"), device_id: text("masked_device_id") }
}

fn masked_login(keyring: &Keyring, kind: MaskKind, ip: &str, device_id: &str) -> MaskedLogin {
    let body = serde_json::json!({
        "user_id": "u", "app_version": "1.2.3", "device_type": "d", "ip": ip, "locale": null, "device_id": device_id,
    });
    let body = RawBody::new(body.to_string());
    let decoded = decode(&LOGIN, &body).unwrap_or_else(|rejection| panic!("{rejection}"));
    keyring.masker(kind).mask(decoded.login)
}

fn sealed_ip(ip: &str) -> String {
    masked(&keyring(), MaskKind::Seal, ip, "x").ip
}

fn sealed_device_id(device_id: &str) -> String {
    masked(&keyring(), MaskKind::Seal, "::1", device_id).device_id
}

fn unmask(keyring: &Keyring, text: &str) -> Result<(&'static str, String), UnmaskError> {
    keyring.unmasker().unmask(text).map(|Unmasked { field, value }| (field.key, value))
}

#[test]
fn stored_masks_stay_what_they_are() {
    // Computed once with another implementation of BLAKE3 and AES-256-GCM-SIV. If one of these changes, values that
    // are stored already can no longer be joined or opened.
    let [seal, token, base64] = KINDS.map(|kind| masked(&keyring(), kind, "198.51.100.7", "device-1"));
    assert_eq!(seal.ip, "new.3DmjKY7ay1GAmVu4N-Qt0MCW6LfEo7Rh3XlC5iUGIZht_XkI_kY5hIXWq9g");
    assert_eq!(seal.device_id, "new.UDknQfCD2lhPK8yL8CRUxpqV70cN1S2sEX0vWfX49QYFnzBc");
    assert_eq!(token.ip, "new:s4hIvprtiF2CiHb_S7voS2BKLEf4YSYMVf5lnVt1p0M");
    assert_eq!(token.device_id, "new:NgpEPidAE_dq5MIvKQW35yoP_yHKqm74DoeNVJtmLas");
    assert_eq!(base64.ip, "MTk4LjUxLjEwMC43");
    assert_eq!(base64.device_id, "ZGV2aWNlLTE=");
}

#[test]
fn stored_bodies_stay_what_they_are() {
    let (hash, sealed) = keyring().body_sealer().seal(MESSAGE, &RawBody::new("{}"), &Attributes::default());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(hash.as_bytes()), "bd7ff406e404492a5f23e5907206e3982010b16793970da838da273e0763faa2");
    assert_eq!(hex(sealed.as_bytes()), "6e65772ebd7ff406e404492a5f23e590bf46475839306e206db8da7f793e0c3c9a9449dfe5c1");
}

#[test]
fn the_fields_that_are_not_personal_pass_unchanged() {
    let login = masked_login(&keyring(), MaskKind::Seal, "::1", "x");
    assert!(login.value("user_id") == Some(&Stored::Text("u".to_owned())));
    assert!(login.value("device_type") == Some(&Stored::Text("d".to_owned())));
    assert!(login.value("locale") == Some(&Stored::Null));
    assert!(login.value("app_version") == Some(&Stored::Integer(1_002_003)));
}

#[test]
fn two_spellings_of_one_address_mask_alike() {
    for kind in KINDS {
        let mask = |ip| masked(&keyring(), kind, ip, "x").ip;
        assert_eq!(mask("198.51.100.7"), mask("::ffff:198.51.100.7"));
        assert_eq!(mask("2001:db8::7"), mask("2001:0DB8:0:0:0:0:0:7"));
    }
}

#[test]
fn a_sealed_address_does_not_tell_by_its_length_what_it_is() {
    assert_eq!(sealed_ip("1.1.1.1").len(), sealed_ip("2001:db8:1111:2222:3333:4444:5555:6666").len());
}

#[test]
fn the_longest_values_under_the_longest_key_id_fit_their_columns() {
    let keyring = Masters::generate_as("k23456789-123456".parse().unwrap()).unwrap().derive().unwrap();
    let mut longest = 0;
    for kind in KINDS {
        let login = masked(&keyring, kind, "2001:db8:1111:2222:3333:4444:5555:6666", &"x".repeat(MASKABLE_BYTES));
        longest = longest.max(login.ip.len()).max(login.device_id.len());
    }
    assert!(longest <= MASKED_CHARS, "{longest}");
    assert!(longest_mask_of_a_longer_text() > MASKED_CHARS, "the limit is not the largest");
}

fn longest_mask_of_a_longer_text() -> usize {
    const LONGER: Stream = Stream {
        table: "t",
        fields: &[Field::masked("a", "a", Kind::Text { may_be_empty: false, most: Limit::Bytes(MASKABLE_BYTES + 1) })],
        day: "day",
    };
    let master = MasterKey::from_bytes(Zeroizing::new([1; 32]));
    let key = Key::derive(&LONGER, "k23456789-123456".parse().unwrap(), &master).unwrap();
    let body = RawBody::new(format!(r#"{{"a": "{}"}}"#, "x".repeat(MASKABLE_BYTES + 1)));
    let login = decode(&LONGER, &body).unwrap_or_else(|rejection| panic!("{rejection}")).login;
    let masked = Masker::new(MaskKind::Seal, Arc::new(key)).mask(login);
    masked.value("a").unwrap().text().unwrap().len()
}

#[test]
fn a_value_masked_for_one_column_does_not_open_as_the_other() {
    // The same sixteen bytes in both columns.
    let octets = "abcdefghijklmnop";
    let ip = IpAddr::from(<[u8; 16]>::try_from(octets.as_bytes()).unwrap()).to_string();
    assert_eq!(unmask(&keyring(), &sealed_ip(&ip)), Ok(("ip", ip.clone())));
    assert_eq!(unmask(&keyring(), &sealed_device_id(octets)), Ok(("device_id", octets.to_owned())));
    let token = masked(&keyring(), MaskKind::Token, &ip, octets);
    assert_ne!(token.ip, token.device_id);
}

#[test]
fn what_an_older_key_masked_can_still_be_recovered() {
    let old = Keyring::parse(
        "turnstile-keyring v1\n\
         hash hash BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=\n\
         key old AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\
         active old\n",
    )
    .unwrap();
    let by_old = masked(&old, MaskKind::Seal, "::1", "device-1").device_id;
    assert_ne!(by_old, sealed_device_id("device-1"));
    assert_eq!(unmask(&keyring(), &by_old), Ok(("device_id", "device-1".to_owned())));
}

#[test]
fn a_text_that_cannot_be_recovered_is_told_why() {
    let sealed = sealed_device_id("device-1");
    let token = masked(&keyring(), MaskKind::Token, "::1", "device-1").device_id;
    let absent = sealed.replacen("new.", "gone.", 1);
    let renamed = sealed.replacen("new.", "old.", 1);
    for (text, why) in [
        (token.as_str(), UnmaskError::Token),
        (&absent, UnmaskError::UnknownKey("gone".parse().unwrap())),
        (&renamed, UnmaskError::NotAuthentic),
        (&sealed[..sealed.len() - 4], UnmaskError::NotAuthentic),
        ("new.", UnmaskError::NotAuthentic),
        ("new", UnmaskError::Malformed),
        ("", UnmaskError::Malformed),
        ("198.51.100.7", UnmaskError::Malformed),
        ("2001:db8::7", UnmaskError::Malformed),
        ("new:AAAA", UnmaskError::Malformed),
        ("NEW.AAAA", UnmaskError::Malformed),
        ("new.AA=", UnmaskError::Malformed),
        ("ZGV2aWNlLTE=", UnmaskError::Malformed),
    ] {
        assert_eq!(unmask(&keyring(), text), Err(why), "{text}");
    }
    assert_eq!(unmask(&impostor(), &sealed), Err(UnmaskError::NotAuthentic));
}

#[test]
fn base64_is_decoded_when_asked_and_without_a_key() {
    let login = masked(&keyring(), MaskKind::Base64, "::ffff:198.51.100.7", "device-1");
    assert_eq!(decode_base64(&login.ip), Ok("198.51.100.7".to_owned()));
    assert_eq!(decode_base64(&login.device_id), Ok("device-1".to_owned()));
    assert_eq!(decode_base64("no Base64"), Err(UnmaskError::Malformed));
    assert_eq!(decode_base64("//79"), Err(UnmaskError::Malformed));
}

#[test]
fn no_piece_of_a_clear_value_shows_in_its_mask() {
    for (ip, device_id) in [("198.51.100.7", "717-22-9034"), ("2001:db8:1111:2222::7", "device-1 of user-2")] {
        for kind in [MaskKind::Seal, MaskKind::Token] {
            let login = masked(&keyring(), kind, ip, device_id);
            assert_no_piece(&login.ip, ip, 4);
            assert_no_piece(&login.device_id, device_id, 4);
        }
    }
}

fn assert_no_piece(masked: &str, clear: &str, length: usize) {
    let clear: Vec<char> = clear.chars().collect();
    for piece in clear.windows(length) {
        assert!(!masked.contains(&piece.iter().collect::<String>()));
    }
}

#[test]
fn a_sealed_body_opens_to_the_bytes_that_were_delivered() {
    for body in [&b""[..], b"{}", b"\xff\x00canary", &[b'x'; 1 << 20]] {
        let body = RawBody::new(body);
        let (hash, sealed) = keyring().body_sealer().seal(MESSAGE, &body, &attributes());
        assert_eq!(hash, keyring().body_sealer().hash(&body));
        assert!(keyring().body_opener().open(MESSAGE, &sealed).is_ok_and(|opened| opened == (body, attributes())));
    }
}

#[test]
fn a_sealed_body_opens_for_no_other_message() {
    let (_, sealed) = keyring().body_sealer().seal(MESSAGE, &RawBody::new("canary"), &Attributes::default());
    let other = MessageHash::from_bytes([8; 32]);
    assert_eq!(keyring().body_opener().open(other, &sealed).map(|_| ()), Err(OpenError::NotAuthentic));
}

#[test]
fn a_sealed_body_shows_neither_its_text_nor_prints_it() {
    let (_, sealed) =
        keyring().body_sealer().seal(MESSAGE, &RawBody::new("canary, canary, canary"), &Attributes::default());
    assert!(sealed.as_bytes().starts_with(b"new."));
    assert!(!sealed.as_bytes().windows(4).any(|piece| piece == b"cana"));
    assert_eq!(format!("{sealed:?}"), "SealedBody(58 bytes)");
}

#[test]
fn a_sealed_body_that_cannot_be_opened_is_told_why() {
    let (_, sealed) = keyring().body_sealer().seal(MESSAGE, &RawBody::new("canary"), &Attributes::default());
    let open = |keyring: Keyring, bytes: &[u8]| {
        keyring.body_opener().open(MESSAGE, &SealedBody::from_bytes(bytes.to_vec())).map(|_| ()).unwrap_err()
    };
    assert_eq!(open(impostor(), sealed.as_bytes()), OpenError::NotAuthentic);
    assert_eq!(open(keyring(), b"new."), OpenError::NotAuthentic);
    assert_eq!(open(keyring(), b"gone.xyz"), OpenError::UnknownKey("gone".parse().unwrap()));
    assert_eq!(open(keyring(), b""), OpenError::Malformed);
    assert_eq!(open(keyring(), b"\xff\xfe.xyz"), OpenError::Malformed);
    // A masked value is no body, even under the same key.
    assert_eq!(open(keyring(), sealed_device_id("device-1").as_bytes()), OpenError::NotAuthentic);
}

#[test]
fn hashes_of_bodies_stay_comparable_when_a_new_key_becomes_active() {
    let body = RawBody::new("canary");
    let hash = keyring().body_sealer().hash(&body);
    let after = masters().with_new_key(None).unwrap().derive().unwrap();
    assert_eq!(after.body_sealer().hash(&body), hash);
    assert!(Keyring::generate().unwrap().body_sealer().hash(&body) != hash, "the hash needs no key");
}

/// The message that bodies are sealed for.
const MESSAGE: MessageHash = MessageHash::from_bytes([7; 32]);

fn attributes() -> Attributes {
    [("Order".to_owned(), b"17".to_vec()), (String::new(), Vec::new())].into_iter().collect()
}

proptest! {
    #[test]
    fn unmask_inverts_seal(ip in any::<IpAddr>(), device_id in "\\PC{1,37}") {
        let login = masked(&keyring(), MaskKind::Seal, &ip.to_string(), &device_id);
        prop_assert_eq!(unmask(&keyring(), &login.ip), Ok(("ip", ip.to_canonical().to_string())));
        prop_assert_eq!(unmask(&keyring(), &login.device_id), Ok(("device_id", device_id)));
    }

    #[test]
    fn equal_values_mask_alike_and_different_ones_do_not(values in prop::collection::vec("[ab]{1,3}", 2..20)) {
        for kind in KINDS {
            let masks: BTreeSet<String> =
                values.iter().map(|value| masked(&keyring(), kind, "::1", value).device_id).collect();
            prop_assert_eq!(masks.len(), values.iter().collect::<BTreeSet<_>>().len());
        }
    }

    #[test]
    fn different_addresses_mask_differently(one in any::<IpAddr>(), other in any::<IpAddr>()) {
        for kind in KINDS {
            let mask = |ip: IpAddr| masked(&keyring(), kind, &ip.to_string(), "x").ip;
            prop_assert_eq!(mask(one) == mask(other), one.to_canonical() == other.to_canonical());
        }
    }

    #[test]
    fn no_long_piece_of_any_value_shows_in_its_mask(device_id in "[a-zA-Z0-9_-]{8,150}") {
        for kind in [MaskKind::Seal, MaskKind::Token] {
            assert_no_piece(&masked(&keyring(), kind, "::1", &device_id).device_id, &device_id, 8);
        }
    }

    #[test]
    fn a_flipped_bit_is_refused(device_id in "\\PC{1,20}", place in any::<prop::sample::Index>(), bit in 0..7_u32) {
        let text = sealed_device_id(&device_id);
        let mut bytes = text.clone().into_bytes();
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let flipped = String::from_utf8(bytes).unwrap();
        prop_assert!(unmask(&keyring(), &flipped).is_err());
        prop_assert!(unmask(&impostor(), &text).is_err());
    }

    #[test]
    fn a_flipped_bit_in_a_sealed_body_is_refused(
        body in prop::collection::vec(any::<u8>(), 0..200), place in any::<prop::sample::Index>(), bit in 0..8_u32,
    ) {
        let (_, sealed) = keyring().body_sealer().seal(MESSAGE, &RawBody::new(body), &Attributes::default());
        let mut bytes = sealed.as_bytes().to_vec();
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(keyring().body_opener().open(MESSAGE, &SealedBody::from_bytes(bytes)).is_err());
    }

    #[test]
    fn a_body_of_any_length_opens_as_it_was_and_one_that_repeats_itself_is_stored_shorter_from_4_kib_on(
        piece in "[ -~]{16,40}", length in prop_oneof![0..5_000_usize, 0..60_000_usize],
    ) {
        let body: Vec<u8> = piece.bytes().cycle().take(length).collect();
        let (hash, sealed) = keyring().body_sealer().seal(MESSAGE, &RawBody::new(body.as_slice()), &attributes());
        prop_assert_eq!(hash, keyring().body_sealer().hash(&RawBody::new(body.as_slice())));
        prop_assert_eq!(sealed.as_bytes().len() < length, length >= 4_096);
        let (opened, with) = keyring().body_opener().open(MESSAGE, &sealed).unwrap();
        prop_assert!(opened.as_bytes() == body && with == attributes());
    }

    #[test]
    fn any_text_is_unmasked_without_panic(text in "\\PC{0,80}", rest in "[A-Za-z0-9_-]{0,80}") {
        prop_assert!(unmask(&keyring(), &text).is_err());
        let forged = format!("new.{rest}");
        prop_assert!(unmask(&keyring(), &forged).is_err());
    }
}
