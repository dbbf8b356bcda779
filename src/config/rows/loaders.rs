//! What `turnstile loaders` takes.

use crate::config::kinds::Text;
use crate::config::setting::{Default, Setting};

const WHICH: &str = "Which loaders";

const CHANGES: &[&str] = &["loaders pause", "loaders resume"];

/// The loaders of one queue.
pub static LOADERS_OF_QUEUE: Setting<Text<String>> = Setting {
    flag: Some("queue"),
    variable: None,
    commands: CHANGES,
    heading: WHICH,
    kind: Text::of("QUEUE", "give a queue's name or ARN", |text| Ok(text.to_owned())),
    default: Default::Unset,
    is_secret: false,
    meaning: "Every loader of this queue, also those that are started later: its name or its ARN",
};

/// One loader.
pub static ONE_LOADER: Setting<Text<String>> = Setting {
    flag: Some("loader"),
    variable: None,
    commands: CHANGES,
    heading: WHICH,
    kind: Text::of("ID", "give the id that `turnstile loaders` shows, or its first digits", |text| Ok(text.to_owned())),
    default: Default::Unset,
    is_secret: false,
    meaning: "Only this loader, until it ends: its id, or the first digits of it",
};
