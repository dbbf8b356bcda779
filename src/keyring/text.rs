//! A keyring as text.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::{KeyringError, LineProblem, Masters};
use crate::seal::{KeyId, MasterKey};

/// The first line: what the text is, and the version of its form.
pub(super) const HEADER: &str = "turnstile-keyring v1";

pub(super) fn parse(text: &str) -> Result<Masters, KeyringError> {
    let mut lines = text.lines().map(str::trim_end).zip(1..);
    if lines.next().is_none_or(|(header, _)| header != HEADER) {
        return Err(KeyringError::WrongHeader);
    }
    let mut ring = Lines::default();
    for (content, line) in lines.filter(|(content, _)| !content.is_empty() && !content.starts_with('#')) {
        ring.read(content).map_err(|problem| KeyringError::WrongLine { line, problem })?;
    }
    ring.into_masters()
}

pub(super) fn write(masters: &Masters) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    text.push_str(HEADER);
    text.push_str("\n# Anyone who can read this file can recover what its keys masked.\n");
    let (id, master) = &masters.hash;
    write_key(&mut text, "hash ", id, master);
    for (id, master) in &masters.keys {
        write_key(&mut text, "key ", id, master);
    }
    for part in ["active ", masters.active.as_str(), "\n"] {
        text.push_str(part);
    }
    text
}

fn write_key(text: &mut String, kind: &str, id: &KeyId, master: &MasterKey) {
    for part in [kind, id.as_str(), " "] {
        text.push_str(part);
    }
    BASE64_STANDARD.encode_string(master.as_bytes(), text);
    text.push('\n');
}

/// What the lines said so far.
#[derive(Default)]
struct Lines {
    hash: Option<(KeyId, MasterKey)>,
    keys: Vec<(KeyId, MasterKey)>,
    active: Option<KeyId>,
}

impl Lines {
    fn read(&mut self, line: &str) -> Result<(), LineProblem> {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("hash"), Some(id), Some(key), None) => self.hash_with(read_id(id)?, read_key(key)?),
            (Some("key"), Some(id), Some(key), None) => self.put(read_id(id)?, read_key(key)?),
            (Some("active"), Some(id), None, None) => self.activate(read_id(id)?),
            _ => Err(LineProblem::Unknown),
        }
    }

    fn hash_with(&mut self, id: KeyId, key: MasterKey) -> Result<(), LineProblem> {
        if self.hash.is_some() || self.has(&id) {
            return Err(LineProblem::Repeated);
        }
        self.hash = Some((id, key));
        Ok(())
    }

    fn put(&mut self, id: KeyId, key: MasterKey) -> Result<(), LineProblem> {
        if self.has(&id) {
            return Err(LineProblem::Repeated);
        }
        self.keys.push((id, key));
        Ok(())
    }

    fn has(&self, id: &KeyId) -> bool {
        self.keys.iter().chain(&self.hash).any(|(before, _)| before == id)
    }

    fn activate(&mut self, id: KeyId) -> Result<(), LineProblem> {
        match self.active.replace(id) {
            None => Ok(()),
            Some(_) => Err(LineProblem::Repeated),
        }
    }

    fn into_masters(self) -> Result<Masters, KeyringError> {
        let active = self.active.ok_or(KeyringError::NoActive)?;
        if !self.keys.iter().any(|(id, _)| *id == active) {
            return Err(KeyringError::UnknownActive(active));
        }
        Ok(Masters { hash: self.hash.ok_or(KeyringError::NoHashKey)?, keys: self.keys, active })
    }
}

fn read_id(text: &str) -> Result<KeyId, LineProblem> {
    text.parse().map_err(|_| LineProblem::Id)
}

fn read_key(text: &str) -> Result<MasterKey, LineProblem> {
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(text).map_err(|_| LineProblem::Key)?);
    let mut master = Zeroizing::new([0; 32]);
    if bytes.len() != master.len() {
        return Err(LineProblem::Key);
    }
    master.copy_from_slice(&bytes);
    Ok(MasterKey::from_bytes(master))
}
