//! Signatures by Standard Webhooks: <https://www.standardwebhooks.com>, version 1, symmetric.

use std::fmt;

use aws_lc_rs::hmac::{self, Context, HMAC_SHA256, Key};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

/// What every secret begins with.
const PREFIX: &str = "whsec_";

/// The most secrets that sign at once: each adds 47 bytes to a header.
const MOST_SECRETS: usize = 16;

/// The secrets that sign: one, and while it is changed for another both. Prints none.
#[derive(Clone)]
pub struct Secrets(Vec<Key>);

/// Why a text holds no secrets. Names the line, and never what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSecrets {
    /// A line is no secret.
    #[error("line {0} is not `whsec_` and 24 to 64 bytes in standard Base64")]
    Line(usize),
    /// There is none, or there are too many.
    #[error("it holds {0} secrets, and not 1 to {MOST_SECRETS}")]
    Number(usize),
}

impl Secrets {
    /// Reads secrets, one a line, or separated by commas. Empty lines and those that start with a number sign say nothing.
    ///
    /// # Errors
    ///
    /// [`NoSecrets`]
    pub fn parse(text: &str) -> Result<Self, NoSecrets> {
        let lines = text.split(['\n', ',']).map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let keys = lines.map(|(number, line)| key(line).ok_or(NoSecrets::Line(number + 1)));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        if (1..=MOST_SECRETS).contains(&keys.len()) { Ok(Self(keys)) } else { Err(NoSecrets::Number(keys.len())) }
    }

    /// The value of the header `webhook-signature`: a signature with each secret.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signed = self.0.iter().map(|key| {
            let mut context = Context::with_key(key);
            context.update(format!("{id}.{timestamp}.").as_bytes());
            context.update(body);
            format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
        });
        signed.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

fn key(line: &str) -> Option<Key> {
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(line.strip_prefix(PREFIX)?).ok()?);
    (24..=64).contains(&bytes.len()).then(|| hmac::Key::new(HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// The example that the libraries of Standard Webhooks are tested with.
    #[test]
    fn the_published_example_is_signed_as_it_is_published() {
        let secrets = Secrets::parse(SECRET).unwrap();
        let signature = secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_is_changed_both_sign() {
        let other = format!("whsec_{}", BASE64_STANDARD.encode([7; 24]));
        let both = Secrets::parse(&format!("# the new one\n{other}\n\n{SECRET}\n")).unwrap();
        let alone = [&other, SECRET].map(|secret| Secrets::parse(secret).unwrap().sign("a", 1, b"b"));
        assert_eq!(both.sign("a", 1, b"b"), alone.join(" "));
        assert_eq!(Secrets::parse(&format!("{other},{SECRET}")).unwrap().sign("a", 1, b"b"), alone.join(" "));
    }

    #[test]
    fn what_is_no_secret_is_told_by_its_line_and_not_shown() {
        let of = |bytes: usize| format!("whsec_{}", BASE64_STANDARD.encode(vec![1; bytes]));
        for (text, error) in [
            (String::new(), NoSecrets::Number(0)),
            ("# nothing\n".to_owned(), NoSecrets::Number(0)),
            (format!("{SECRET}\nsesame"), NoSecrets::Line(2)),
            (of(23), NoSecrets::Line(1)),
            (of(65), NoSecrets::Line(1)),
            ("whsec_%%%".to_owned(), NoSecrets::Line(1)),
            (vec![of(24); 17].join("\n"), NoSecrets::Number(17)),
        ] {
            assert_eq!(Secrets::parse(&text).err(), Some(error.clone()), "{text}");
            assert!(!error.to_string().contains("sesame"));
        }
        assert!(Secrets::parse(&of(24)).is_ok() && Secrets::parse(&of(64)).is_ok());
        assert_eq!(format!("{:?}", Secrets::parse(SECRET).unwrap()), "1 secrets");
    }
}
