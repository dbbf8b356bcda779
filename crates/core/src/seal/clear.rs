//! What is sealed of a message: its attributes and its body, as bytes.
//!
//! ```text
//! number of attributes, then each name and value behind its length; then the body
//! number of attributes with the highest bit set, then the same; then the length of the body, and the body compressed
//! ```
//!
//! All numbers are four bytes, the lowest first. A message has far fewer than 2^31 attributes, so that what was sealed before
//! bodies were compressed is read as it was written. The compression is DEFLATE (RFC 1951) without any frame: that the bytes are
//! whole, the seal says.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

use crate::message::{Attributes, RawBody};

/// The shortest body that is compressed, in bytes. What is shorter takes one page of the table at most, and its length says
/// less.
const COMPRESSED_FROM: usize = 4 * 1024;

/// The longest body that is compressed, and what a compressed one may become: SQS takes none that is longer.
const COMPRESSED_TO: usize = 1024 * 1024;

/// The quickest: the next levels take several times as long, to save another tenth.
const LEVEL: u8 = 1;

/// Says that the body is compressed.
const IS_COMPRESSED: u32 = 1 << 31;

/// Appends the attributes and the body, compressed if that makes it shorter.
pub(super) fn write(attributes: &Attributes, body: &RawBody, out: &mut Vec<u8>) {
    let body = body.as_bytes();
    match compressed(body) {
        None => {
            write_attributes(attributes, 0, out);
            out.extend_from_slice(body);
        }
        Some(shorter) => {
            write_attributes(attributes, IS_COMPRESSED, out);
            out.extend_from_slice(&length(body.len()));
            out.extend_from_slice(&shorter);
        }
    }
}

/// Takes back what [`write()`] wrote; nothing of what it did not write, or of a body that would be longer than it says.
pub(super) fn read(clear: &[u8]) -> Option<(Attributes, RawBody)> {
    let (number, rest) = read_number(clear)?;
    let (attributes, rest) = read_attributes(number & !IS_COMPRESSED, rest)?;
    if number & IS_COMPRESSED == 0 {
        return Some((attributes, RawBody::new(rest)));
    }
    let (length, shorter) = read_length(rest)?;
    if length > COMPRESSED_TO {
        return None;
    }
    let body = decompress_to_vec_with_limit(shorter, length).ok().filter(|body| body.len() == length)?;
    Some((attributes, RawBody::new(body)))
}

fn compressed(body: &[u8]) -> Option<Vec<u8>> {
    if !(COMPRESSED_FROM..=COMPRESSED_TO).contains(&body.len()) {
        return None;
    }
    let shorter = compress_to_vec(body, LEVEL);
    (shorter.len() + size_of::<u32>() < body.len()).then_some(shorter)
}

fn write_attributes(attributes: &Attributes, mark: u32, out: &mut Vec<u8>) {
    let attributes = attributes.iter();
    let number = u32::try_from(attributes.len()).unwrap_or(!IS_COMPRESSED);
    out.extend_from_slice(&(number | mark).to_le_bytes());
    for (name, value) in attributes {
        for part in [name.as_bytes(), value] {
            out.extend_from_slice(&length(part.len()));
            out.extend_from_slice(part);
        }
    }
}

/// A message and its attributes have 1 MiB at most.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

/// So many attributes, and what stands behind them.
fn read_attributes(number: u32, mut rest: &[u8]) -> Option<(Attributes, &[u8])> {
    let mut part = || {
        let (length, behind) = read_length(rest)?;
        let (part, behind) = behind.split_at_checked(length)?;
        rest = behind;
        Some(part)
    };
    let mut attributes = Vec::new();
    for _ in 0..number {
        let (name, value) = (part()?, part()?);
        attributes.push((str::from_utf8(name).ok()?.to_owned(), value.to_vec()));
    }
    Some((attributes.into_iter().collect(), rest))
}

fn read_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = read_number(bytes)?;
    Some((usize::try_from(length).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(attributes: &Attributes, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(attributes, &RawBody::new(body), &mut out);
        out
    }

    fn body_of(clear: &[u8]) -> Option<Vec<u8>> {
        read(clear).map(|(_, body)| body.as_bytes().to_vec())
    }

    /// A text that goes on and on.
    fn text(bytes: usize) -> Vec<u8> {
        (0..).flat_map(|n: u32| format!("{{\"user_id\":\"user {n}\"}},").into_bytes()).take(bytes).collect()
    }

    /// As random as a seed makes it.
    fn noise(bytes: usize, seed: u8) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut noise);
        noise
    }

    #[test]
    fn long_bodies_are_compressed_where_that_makes_them_shorter() {
        for (body, is_compressed) in [
            (text(COMPRESSED_FROM - 1), false),
            (text(COMPRESSED_FROM), true),
            (text(COMPRESSED_TO), true),
            (text(COMPRESSED_TO + 1), false),
            (noise(COMPRESSED_FROM, 1), false),
            (noise(COMPRESSED_TO, 2), false),
            (Vec::new(), false),
        ] {
            let clear = written(&Attributes::default(), &body);
            assert_eq!(clear.len() < body.len(), is_compressed, "{} bytes become {}", body.len(), clear.len());
            assert_eq!(clear[3] & 0x80 != 0, is_compressed);
            assert!(clear.len() <= body.len() + 4, "what does not shrink stays as it is");
            assert!(body_of(&clear) == Some(body));
        }
        assert!(written(&Attributes::default(), &text(64 * 1024)).len() < 16 * 1024);
    }

    #[test]
    fn what_was_written_before_bodies_were_compressed_is_read() {
        let body = text(COMPRESSED_FROM);
        let clear = [&[1, 0, 0, 0, 1, 0, 0, 0][..], b"k", &[2, 0, 0, 0], b"vw", &body].concat();
        let (attributes, read) = read(&clear).unwrap();
        assert!(read.as_bytes() == body && attributes.iter().eq([("k", &b"vw"[..])]));
    }

    #[test]
    fn a_body_that_becomes_longer_or_shorter_than_it_says_is_malformed() {
        let compressed = |says: u32, body: &[u8]| {
            [&IS_COMPRESSED.to_le_bytes()[..], &says.to_le_bytes(), &compress_to_vec(body, LEVEL)].concat()
        };
        let most = u32::try_from(COMPRESSED_TO).unwrap();
        assert!(body_of(&compressed(7, b"seven b")).is_some());
        assert!(body_of(&compressed(6, b"seven b")).is_none() && body_of(&compressed(8, b"seven b")).is_none());
        // A thousandth of what it would become.
        let bomb = vec![0; 64 * COMPRESSED_TO];
        for says in [0, 1, most, most + 1, u32::try_from(bomb.len()).unwrap(), u32::MAX] {
            assert!(body_of(&compressed(says, &bomb)).is_none(), "{says}");
        }
        assert!(body_of(&[IS_COMPRESSED.to_le_bytes(), 9_u32.to_le_bytes()].concat()).is_none(), "nothing follows");
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_as_it_was(
            attributes in prop::collection::vec(("[a-zA-Z.]{1,20}", prop::collection::vec(any::<u8>(), 0..60)), 0..5),
            length in prop_oneof![0..200_usize, 4_000..4_200_usize, 0..100_000_usize],
            noisy in 0..100_000_usize,
            seed in any::<u8>(),
        ) {
            let noisy = noise(noisy.min(length), seed);
            let body = [&text(length - noisy.len())[..], &noisy].concat();
            let attributes: Attributes = attributes.into_iter().collect();
            let (read_attributes, read_body) = read(&written(&attributes, &body)).unwrap();
            prop_assert!(read_body.as_bytes() == body);
            prop_assert!(read_attributes.iter().eq(attributes.iter()));
        }

        #[test]
        fn bytes_of_any_kind_are_read_or_refused_and_never_become_longer_than_a_message(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let marked = [&IS_COMPRESSED.to_le_bytes()[..], &bytes].concat();
            for clear in [&bytes, &marked] {
                if let Some((_, body)) = read(clear) {
                    prop_assert!(body.len() <= COMPRESSED_TO);
                }
            }
        }
    }
}
