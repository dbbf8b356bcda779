//! What `turnstile archive` takes.

use crate::archive::storage::Place;
use crate::config::kinds::{FilePath, Text, parsed};
use crate::config::setting::{Default, OPTIONS, Setting};

/// How the place of an archive is written.
pub type ArchivePlace = Text<Place>;

const PLACE: ArchivePlace = Text::of("DIR|s3://BUCKET/PREFIX", PLACE_REMEDY, parsed).beginning(&["s3://"]);

/// What to do about a place that is none.
pub const PLACE_REMEDY: &str = "give a folder, or s3://BUCKET/PREFIX";

/// Where partitions are archived.
pub static ARCHIVE_TO: Setting<ArchivePlace> = Setting {
    flag: Some("to"),
    variable: None,
    commands: &["archive"],
    heading: OPTIONS,
    kind: PLACE,
    default: Default::Unset,
    is_secret: false,
    meaning: "The archive: a folder, or a part of a bucket of S3, which is reached with the standard AWS settings. One database \
              writes into it",
};

/// Which archive is looked at.
pub static ARCHIVE_FROM: Setting<ArchivePlace> = Setting {
    flag: Some("from"),
    variable: None,
    commands: &["archive verify", "archive restore", "archive forget"],
    heading: OPTIONS,
    kind: PLACE,
    default: Default::Unset,
    is_secret: false,
    meaning: "The archive: a folder, or a part of a bucket of S3, which is reached with the standard AWS settings",
};

/// Which manifest must be the last.
pub static ARCHIVE_HEAD: Setting<Text<String>> = Setting {
    flag: Some("head"),
    variable: None,
    commands: &["archive verify"],
    heading: OPTIONS,
    kind: Text::of("BLAKE3", "give 64 hexadecimal digits, as an earlier `archive verify` said them", |text| {
        match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(text.to_ascii_lowercase()),
            false => Err("is no BLAKE3".to_owned()),
        }
    }),
    default: Default::Unset,
    is_secret: false,
    meaning: "The last manifest must have this BLAKE3. So it shows where manifests were taken from the end",
};

/// Who is forgotten.
pub static USER_ID_FILE: Setting<FilePath> = Setting {
    flag: Some("user-id-file"),
    variable: None,
    commands: &["archive forget"],
    heading: OPTIONS,
    kind: FilePath,
    default: Default::Unset,
    is_secret: false,
    meaning: "A file with the user_id of each person who is to be forgotten, one on a line; - is standard input. They are given \
              in no other way, because others see what is typed",
};
