//! How bodies are edited on the command line.

use std::path::PathBuf;

use serde_json::Value;

use crate::config::Mistakes;
use crate::message::RawBody;
use crate::replay::edit::{Change, Edit, pointer};

/// What is changed before the letters are replayed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Editing")]
pub(super) struct Edits {
    /// Put a JSON value at a place of each body before it is replayed: --set /app_version '"2.3.0"'. Others can read a command line:
    /// give personal values in a --patch
    #[arg(long, num_args = 2, value_names = ["POINTER", "JSON"], action = clap::ArgAction::Append)]
    set: Vec<String>,

    /// Take away what is at a place of each body, where there is something
    #[arg(long, value_name = "POINTER")]
    remove: Vec<String>,

    /// Change each body as this file says (JSON Patch, RFC 6902)
    #[arg(long, value_name = "FILE")]
    patch: Option<PathBuf>,

    /// Put the bytes of this file in the place of the whole body; for a single letter
    #[arg(long, value_name = "FILE", conflicts_with_all = ["set", "remove", "patch"])]
    replace: Option<PathBuf>,

    /// Take the bodies as they were delivered, whatever was tried of them since
    #[arg(long)]
    pub(super) as_delivered: bool,
}

impl Edits {
    /// Whether a body is replaced as a whole.
    pub(super) fn replaces(&self) -> bool {
        self.replace.is_some()
    }

    /// The edit that is asked for, if any is; mistakes are noted.
    pub(super) fn read(&self, mistakes: &mut Mistakes) -> Option<Option<Edit>> {
        if let Some(file) = &self.replace {
            return Some(Some(Edit::Body(RawBody::new(bytes_of("--replace", file, mistakes)?))));
        }
        let set = self.set.chunks(2).map(|pair| match pair {
            [place, json] => Some(Change::Set(place_of("--set", place, mistakes)?, value_of(json, mistakes)?)),
            _ => None,
        });
        let set: Option<Vec<Change>> = set.collect();
        let removed = self.remove.iter().map(|place| place_of("--remove", place, mistakes).map(Change::Remove));
        let removed: Option<Vec<Change>> = removed.collect();
        let patch = self.patch.as_ref().map(|file| {
            let bytes = bytes_of("--patch", file, mistakes)?;
            let read = serde_json::from_slice(&bytes).map(Change::Patch);
            // What the parser says may hold a piece of the file.
            mistakes.take(
                "--patch",
                read.map_err(|_| "is no JSON Patch".to_owned()),
                "give a file with a list of operations as RFC 6902 has them",
            )
        });
        let patch: Option<Option<Change>> = match patch {
            None => Some(None),
            Some(read) => read.map(Some),
        };
        let changes: Vec<Change> = set?.into_iter().chain(removed?).chain(patch?).collect();
        Some(if changes.is_empty() { None } else { Some(Edit::Changes(changes)) })
    }
}

fn place_of(flag: &'static str, text: &str, mistakes: &mut Mistakes) -> Option<json_patch::jsonptr::PointerBuf> {
    let remedy = "give a place like /app_version";
    mistakes.take(flag, pointer(text).map_err(|error| error.to_string()), remedy)
}

fn value_of(json: &str, mistakes: &mut Mistakes) -> Option<Value> {
    let read = serde_json::from_str(json).map_err(|_| "has a value that is no JSON".to_owned());
    mistakes.take("--set", read, "write a text in double quotes, inside single quotes of the shell: '\"2.3.0\"'")
}

fn bytes_of(flag: &'static str, file: &std::path::Path, mistakes: &mut Mistakes) -> Option<Vec<u8>> {
    let read = std::fs::read(file).map_err(|error| format!("cannot be read: {error}"));
    mistakes.take(flag, read, "name a file that can be read")
}
