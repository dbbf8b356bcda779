//! The first digits of a hash, by which dead letters and events are named.

use crate::config::Mistakes;
use crate::message::MessageHash;

/// The first digits of a message hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// As they were typed.
    pub(super) digits: String,
    /// The lowest hash that starts with them.
    pub(super) first: MessageHash,
    /// The highest.
    pub(super) last: MessageHash,
}

/// How many digits a table for people shows: enough to name a letter or an event by.
pub(super) const SHOWN: usize = 12;

/// The beginning of a hash or an id, as a table for people shows it.
pub(super) fn shown(hash: MessageHash) -> String {
    hash.to_string().chars().take(SHOWN).collect()
}

impl Prefix {
    fn parse(text: &str) -> Option<Self> {
        let is_prefix = (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let filled = |digit: char| text.chars().chain(std::iter::repeat(digit)).take(64).collect::<String>().parse();
        match (filled('0'), filled('f')) {
            (Ok(first), Ok(last)) if is_prefix => Some(Self { digits: text.to_owned(), first, last }),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => None,
        }
    }

    /// Reads what was given as `name`, which is `what`; mistakes are noted with this remedy.
    pub(super) fn read_all(
        texts: &[String],
        (name, what): (&str, &str),
        remedy: &str,
        mistakes: &mut Mistakes,
    ) -> Vec<Self> {
        let read = |text: &String| {
            let prefix = Self::parse(text).ok_or_else(|| format!("{text:?} is not {what}"));
            mistakes.take(name, prefix, remedy)
        };
        texts.iter().filter_map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_eight_to_sixty_four_hexadecimal_digits() {
        for (text, is_prefix) in [
            ("0123abcD", true),
            ("0123abcd9", true),
            (&"f".repeat(64), true),
            ("0123abc", false),
            ("", false),
            ("0123abcg", false),
            ("0123abcé", false),
            (&"f".repeat(65), false),
        ] {
            assert_eq!(Prefix::parse(text).is_some(), is_prefix, "{text}");
        }
        let odd = Prefix::parse("0123abcd9").unwrap();
        assert_eq!(odd.first.to_string(), format!("0123abcd9{}", "0".repeat(55)));
        assert_eq!(odd.last.to_string(), format!("0123abcd9{}", "f".repeat(55)));
    }
}
