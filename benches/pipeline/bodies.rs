//! Bodies to send: logins of about 200 bytes, every one another, the same in each run.

use std::ops::Range;

/// So many logins, from the first number on.
pub(crate) fn logins(count: u64) -> impl Iterator<Item = String> {
    logins_of(0..count)
}

/// Logins with these numbers.
pub(crate) fn logins_of(numbers: Range<u64>) -> impl Iterator<Item = String> {
    numbers.map(|number| login(number, ""))
}

/// Logins of `bytes` bytes: what is beyond the usual stands under a key that the loader does not know.
pub(crate) fn large(count: u64, bytes: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| {
        let key = r#", "trace": """#;
        let padding = bytes.saturating_sub(login(number, key).len());
        login(number, &format!(r#", "trace": "{}""#, "x".repeat(padding)))
    })
}

fn login(number: u64, more: &str) -> String {
    // A permutation of the numbers, so that neighbours have nothing in common.
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let [a, b, c, d, e, f, g, h] = mixed.to_be_bytes();
    format!(
        r#"{{"user_id": "{mixed:016x}-{number:012x}", "app_version": "{}.{}.{}", "device_type": "{}", "ip": "{}.{b}.{c}.{d}", "locale": "{}", "device_id": "{e:02x}{f:02x}-{g:02x}{h:02x}-{number:08x}"{more}}}"#,
        a % 9,
        b % 30,
        c % 100,
        if d % 2 == 0 { "android" } else { "iOS" },
        a % 223 + 1,
        if e % 3 == 0 { "en_US" } else { "de_DE" },
    )
}
