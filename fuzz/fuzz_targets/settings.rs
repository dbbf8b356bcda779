//! Any text in any setting is read or refused without a panic, and no password or key stands in what is said of it.
//! Seeds: tests/fixtures/settings.

#![no_main]

use std::ffi::OsStr;

use libfuzzer_sys::fuzz_target;
use stand_ins::sqs::Faults;
use turnstile::config::rows;
use turnstile::database::address::DatabaseAddress;
use turnstile::keyring::Keyring;
use turnstile::message::Identity;
use turnstile::queue::sqs::QueueAddress;

/// Stands for a password and for a key.
const SECRET: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fuzz_target!(|text: &str| {
    if text.contains("AQEB") {
        return;
    }
    rows::settings().for_each(|setting| drop(setting.unfit(OsStr::new(text))));
    drop((text.parse::<Identity>(), Faults::default().set(text)));
    let addresses = [
        format!("postgres://u:{SECRET}@{text}"),
        format!("postgres://h/?password={SECRET}&{text}"),
        format!("password={SECRET} {text}"),
        format!("{text} password={SECRET}"),
        text.to_owned(),
    ];
    for address in addresses {
        keeps_the_secret(DatabaseAddress::parse(&address));
    }
    keeps_the_secret(format!("https://u:{SECRET}@{text}").parse::<QueueAddress>());
    keeps_the_secret(Keyring::parse(&format!("turnstile-keyring v1\nhash h {SECRET}\nkey a {SECRET}\n{text}")));
    keeps_the_secret(Keyring::parse(text));
});

fn keeps_the_secret<T: std::fmt::Debug, E: std::fmt::Debug + std::fmt::Display>(read: Result<T, E>) {
    let said = match read {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!said.contains("AQEB"), "{said}");
}
