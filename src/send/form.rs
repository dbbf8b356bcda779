//! What a line must hold, and what is wrong with one that does not: said by line, code and remedy, never by content.

use std::fmt;

use crate::decode::{Rejection, decode};
use crate::message::RawBody;
use crate::queue::MAX_MESSAGE_BYTES;
use crate::stream::LOGIN;

/// What the lines of a file must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// Logins, as a loader takes them.
    Logins,
    /// Anything that a queue takes.
    Raw,
}

/// A line that is not a login.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {}", .form.as_ref().map_or_else(|| format!("is not a login: {code}"), ToString::to_string))]
pub struct Misfit {
    /// The line, counted from 1.
    pub line: u64,
    /// The code of its [`Rejection`], or `too-long`.
    pub code: String,
    /// What the whole file is instead, where the line tells.
    pub form: Option<Form>,
}

impl Misfit {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        self.form.map_or("mend or remove it, or send with --raw", Form::remedy)
    }
}

/// What a file is that is not one login a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Compressed by gzip.
    Gzip,
    /// UTF-16, by its byte order mark.
    Utf16,
    /// UTF-8 with a byte order mark.
    ByteOrderMark,
    /// A JSON array.
    Array,
    /// JSON that is spread over several lines.
    Spread,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "begins as gzip does: the lines are compressed",
            Self::Utf16 => "begins with the byte order mark of UTF-16: a body must be UTF-8",
            Self::ByteOrderMark => "begins with a byte order mark, which a body must not",
            Self::Array => "begins a JSON array: each login must be on a line of its own",
            Self::Spread => "begins a JSON object and does not end it: each login must be on one line",
        })
    }
}

impl Form {
    /// What makes one login a line of it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Gzip => "zcat FILE | turnstile send … -",
            Self::Utf16 => "iconv -f UTF-16 -t UTF-8 FILE | turnstile send … -",
            Self::ByteOrderMark => "tail -c +4 FILE | turnstile send … -",
            Self::Array => "jq -c '.[]' FILE | turnstile send … -",
            Self::Spread => "jq -c . FILE | turnstile send … -",
        }
    }

    /// By how the first line with a body begins.
    fn of_beginning(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(Self::Utf16),
            [0xef, 0xbb, 0xbf, ..] => Some(Self::ByteOrderMark),
            _ if bytes.trim_ascii_start().starts_with(b"[") => Some(Self::Array),
            _ => None,
        }
    }
}

/// Why this line is not a login, if it is none; `first` of all that are not empty.
///
/// Of a line that is too long for a body, `bytes` may be its beginning.
pub(super) fn misfit(line: u64, bytes: &[u8], first: bool) -> Option<Misfit> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        let form = Form::of_beginning(bytes).filter(|_| first);
        return Some(Misfit { line, code: "too-long".to_owned(), form });
    }
    let rejection = decode(&LOGIN, &RawBody::new(bytes)).err()?;
    let form = match rejection {
        _ if !first => None,
        Rejection::TruncatedJson if bytes.trim_ascii_start().starts_with(b"{") => Some(Form::Spread),
        _ => Form::of_beginning(bytes),
    };
    Some(Misfit { line, code: rejection.code().to_owned(), form })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: &str =
        r#"{"user_id":"u","app_version":"1","device_type":"d","ip":"::1","locale":null,"device_id":"i"}"#;

    #[test]
    fn what_a_file_is_instead_is_told_by_its_first_line() {
        let array = format!("[{LOGIN},");
        for (bytes, form) in [
            (&b"\x1f\x8b\x08\x00junk"[..], Some(Form::Gzip)),
            (b"\xff\xfe{\x00", Some(Form::Utf16)),
            (b"\xef\xbb\xbf{}", Some(Form::ByteOrderMark)),
            (b"[", Some(Form::Array)),
            (b"  [ ]", Some(Form::Array)),
            (array.as_bytes(), Some(Form::Array)),
            (b"{", Some(Form::Spread)),
            (b" {\"user_id\": \"u\",", Some(Form::Spread)),
            (b"{}", None),
            (b"\"text\"", None),
            (b"\xff", None),
        ] {
            let misfit = |first| misfit(1, bytes, first).expect("no login");
            assert_eq!((misfit(true).form, misfit(false).form), (form, None), "{bytes:?}");
        }
        let long = [b"[", &b" ".repeat(MAX_MESSAGE_BYTES)[..]].concat();
        assert_eq!(misfit(1, &long, true).unwrap().form, Some(Form::Array));
    }

    #[test]
    fn a_login_fits_and_what_is_none_is_told_by_its_code_and_never_by_its_content() {
        assert_eq!(misfit(1, LOGIN.as_bytes(), true), None);
        let canary = LOGIN.replace("::1", "canary");
        let misfit = misfit(7, canary.as_bytes(), false).unwrap();
        assert_eq!(misfit.to_string(), "line 7 is not a login: invalid_ip");
        assert!(!format!("{misfit:?}").contains("canary"));
    }
}
