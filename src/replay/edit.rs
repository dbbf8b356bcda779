//! Changing the body of a letter, so that it is a login.
//!
//! Nothing changes that nobody asked to: a body whose numbers or keys would not survive being written anew is refused.

use std::fmt;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation};
use serde_json::{Number, Value};

use crate::message::RawBody;

/// What is changed in a body. No `Debug`: its values may be personal.
pub enum Edit {
    /// One change after the other.
    Changes(Vec<Change>),
    /// The whole body is another.
    Body(RawBody),
}

/// One change of a JSON text.
pub enum Change {
    /// Puts a value there, whether there is one or not.
    Set(PointerBuf, Value),
    /// Takes away what is there, if there is something.
    Remove(PointerBuf),
    /// Does what an RFC 6902 patch says, all of it or nothing.
    Patch(Patch),
}

/// Why a body cannot be edited. It holds nothing of the body, and of the edit only pointers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It is no JSON text.
    #[error("it is no JSON, and can only be replaced as a whole")]
    NotJson,
    /// An object in it has one key twice.
    #[error("one of its keys stands twice, and it can only be replaced as a whole")]
    KeyTwice,
    /// A number in it would be written otherwise.
    #[error("one of its numbers would change by being written anew, and it can only be replaced as a whole")]
    NumberWouldChange,
    /// It would be longer than a message can be.
    #[error("it would be longer than {MOST_BYTES} bytes")]
    TooLong,
    /// What holds the place is not there, or is no object or array.
    #[error("there is no place {0} in it")]
    NoPlace(String),
    /// An operation of a patch cannot be done, or its test fails.
    #[error("operation {0} of the patch cannot be done with it")]
    Operation(usize),
}

/// The longest body that an edit makes: no message is longer.
pub const MOST_BYTES: usize = 1024 * 1024;

/// A body, and the pointers of what was changed in it.
pub type EditedBody = (RawBody, Vec<String>);

impl Edit {
    /// The edited body, and where it was changed: none if nothing was.
    ///
    /// # Errors
    ///
    /// [`EditError`]
    pub fn apply(&self, body: &RawBody) -> Result<Option<EditedBody>, EditError> {
        match self {
            Self::Body(new) if new.as_bytes() == body.as_bytes() => Ok(None),
            Self::Body(new) if new.len() > MOST_BYTES => Err(EditError::TooLong),
            Self::Body(new) => Ok(Some((RawBody::new(new.as_bytes()), vec![String::new()]))),
            Self::Changes(changes) => change(changes, body),
        }
    }

    /// What is done, without values.
    pub fn operations(&self) -> Vec<String> {
        match self {
            Self::Body(_) => vec!["replace the whole body".to_owned()],
            Self::Changes(changes) => changes.iter().flat_map(Change::operations).collect(),
        }
    }
}

fn change(changes: &[Change], body: &RawBody) -> Result<Option<EditedBody>, EditError> {
    let before = read(body.as_bytes())?;
    let mut after = before.clone();
    let mut paths = Vec::new();
    for change in changes {
        let earlier = after.clone();
        change.apply(&mut after)?;
        if after != earlier {
            paths.extend(change.paths());
        }
    }
    paths.sort_unstable();
    paths.dedup();
    if after == before {
        return Ok(None);
    }
    let text = after.to_string();
    match text.len() > MOST_BYTES {
        true => Err(EditError::TooLong),
        false => Ok(Some((RawBody::new(text), paths))),
    }
}

impl Change {
    fn apply(&self, document: &mut Value) -> Result<(), EditError> {
        let done = match self {
            Self::Set(pointer, value) => {
                let (path, value) = (pointer.clone(), value.clone());
                let operation = match pointer.resolve(document).is_ok() {
                    true => PatchOperation::Replace(ReplaceOperation { path, value }),
                    false => PatchOperation::Add(AddOperation { path, value }),
                };
                json_patch::patch(document, &[operation])
            }
            Self::Remove(pointer) if pointer.resolve(document).is_err() => Ok(()),
            Self::Remove(pointer) => {
                json_patch::patch(document, &[PatchOperation::Remove(RemoveOperation { path: pointer.clone() })])
            }
            Self::Patch(patch) => json_patch::patch(document, patch),
        };
        done.map_err(|error| match self {
            Self::Set(pointer, _) | Self::Remove(pointer) => EditError::NoPlace(pointer.to_string()),
            Self::Patch(_) => EditError::Operation(error.operation + 1),
        })
    }

    /// Where it may change something.
    fn paths(&self) -> Vec<String> {
        match self {
            Self::Set(pointer, _) | Self::Remove(pointer) => vec![pointer.to_string()],
            Self::Patch(patch) => patch.iter().flat_map(changed_by).collect(),
        }
    }

    fn operations(&self) -> Vec<String> {
        match self {
            Self::Set(pointer, _) => vec![format!("set {pointer}")],
            Self::Remove(pointer) => vec![format!("remove {pointer}")],
            Self::Patch(patch) => patch.iter().map(in_words).collect(),
        }
    }
}

fn changed_by(operation: &PatchOperation) -> Vec<String> {
    match operation {
        PatchOperation::Test(_) => Vec::new(),
        PatchOperation::Move(moved) => vec![moved.from.to_string(), moved.path.to_string()],
        PatchOperation::Add(_) | PatchOperation::Remove(_) | PatchOperation::Replace(_) | PatchOperation::Copy(_) => {
            vec![operation.path().to_string()]
        }
    }
}

fn in_words(operation: &PatchOperation) -> String {
    match operation {
        PatchOperation::Add(add) => format!("add {}", add.path),
        PatchOperation::Remove(remove) => format!("remove {}", remove.path),
        PatchOperation::Replace(replace) => format!("replace {}", replace.path),
        PatchOperation::Move(moved) => format!("move {} to {}", moved.from, moved.path),
        PatchOperation::Copy(copy) => format!("copy {} to {}", copy.from, copy.path),
        PatchOperation::Test(TestOperation { path, .. }) => format!("test {path}"),
    }
}

/// A JSON text that says the same when it is written anew.
fn read(body: &[u8]) -> Result<Value, EditError> {
    let text = str::from_utf8(body).map_err(|_| EditError::NotJson)?;
    let value: Value = serde_json::from_str(text).map_err(|_| EditError::NotJson)?;
    let outside = outside_of_strings(text);
    // Each member of an object has a colon of its own; of two with one key, the value keeps only one.
    if outside.matches(':').count() != members(&value) {
        return Err(EditError::KeyTwice);
    }
    let is_number = |part: &&str| part.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let survives = |text: &str| text.parse::<Number>().is_ok_and(|number| number.to_string() == text);
    match outside.split(['[', ']', '{', '}', ',', ':', ' ', '\t', '\n', '\r']).filter(is_number).all(survives) {
        true => Ok(value),
        false => Err(EditError::NumberWouldChange),
    }
}

/// A valid JSON text without its strings.
fn outside_of_strings(text: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let is_outside = |character: &char| {
        let was_in_string = in_string;
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        !was_in_string && *character != '"'
    };
    text.chars().filter(is_outside).collect()
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Array(array) => array.iter().map(members).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// A text is no JSON pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPointer;

impl fmt::Display for NoPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is no JSON pointer (RFC 6901)")
    }
}

/// A JSON pointer, like `/app_version`.
///
/// # Errors
///
/// [`NoPointer`]; also for the pointer to the whole body, which is replaced otherwise.
pub fn pointer(text: &str) -> Result<PointerBuf, NoPointer> {
    let fits = !text.contains(char::is_control);
    PointerBuf::parse(text).ok().filter(|pointer| fits && !pointer.is_root()).ok_or(NoPointer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn set(path: &str, value: Value) -> Change {
        Change::Set(pointer(path).unwrap(), value)
    }

    fn remove(path: &str) -> Change {
        Change::Remove(pointer(path).unwrap())
    }

    fn edited(changes: Vec<Change>, body: &str) -> Result<Option<(String, Vec<String>)>, EditError> {
        let edited = Edit::Changes(changes).apply(&RawBody::new(body))?;
        Ok(edited.map(|(body, paths)| (String::from_utf8(body.as_bytes().to_vec()).unwrap(), paths)))
    }

    fn became(body: &str, paths: &[&str]) -> Result<Option<(String, Vec<String>)>, EditError> {
        Ok(Some((body.to_owned(), paths.iter().map(|path| (*path).to_owned()).collect())))
    }

    #[test]
    fn what_is_set_is_there_afterwards_whether_it_was_or_not() {
        assert_eq!(
            edited(vec![set("/a", json!("2"))], r#"{"a": 1, "b": "x"}"#),
            became(r#"{"a":"2","b":"x"}"#, &["/a"])
        );
        assert_eq!(edited(vec![set("/a", json!(2))], r#"{"b":1}"#), became(r#"{"a":2,"b":1}"#, &["/a"]));
        assert_eq!(edited(vec![set("/a/0", json!(2))], r#"{"a":[1,3]}"#), became(r#"{"a":[2,3]}"#, &["/a/0"]));
        let nowhere = edited(vec![set("/a/b", json!(2))], r#"{"b":1}"#);
        assert_eq!(nowhere, Err(EditError::NoPlace("/a/b".to_owned())));
    }

    #[test]
    fn what_is_removed_is_not_there_afterwards() {
        assert_eq!(edited(vec![remove("/a")], r#"{"a":1,"b":2}"#), became(r#"{"b":2}"#, &["/a"]));
        assert_eq!(edited(vec![remove("/c")], r#"{"a":1,"b":2}"#), Ok(None));
    }

    #[test]
    fn what_nothing_changes_in_is_no_revision() {
        assert_eq!(edited(vec![set("/a", json!(1))], "{ \"a\" : 1 }"), Ok(None));
        let both = vec![set("/b", json!(2)), remove("/b"), set("/a", json!(2))];
        assert_eq!(edited(both, r#"{"a":1}"#), became(r#"{"a":2}"#, &["/a", "/b"]));
    }

    #[test]
    fn a_patch_is_done_as_a_whole_or_not_at_all() {
        let patch = |text: &str| vec![Change::Patch(serde_json::from_str(text).unwrap())];
        let moved = patch(r#"[{"op":"test","path":"/a","value":1},{"op":"move","from":"/a","path":"/b"}]"#);
        assert_eq!(edited(moved, r#"{"a":1}"#), became(r#"{"b":1}"#, &["/a", "/b"]));
        let failing = r#"[{"op":"remove","path":"/a"},{"op":"test","path":"/b","value":2}]"#;
        assert_eq!(edited(patch(failing), r#"{"a":1,"b":1}"#), Err(EditError::Operation(2)));
    }

    #[test]
    fn a_body_that_would_change_otherwise_is_refused() {
        let change = || vec![set("/a", json!("x"))];
        for number in ["1e5", "0.10", "-0", "123456789012345678901234567890", "1E2"] {
            assert_eq!(
                edited(change(), &format!(r#"{{"n": [{number}]}}"#)),
                Err(EditError::NumberWouldChange),
                "{number}"
            );
        }
        for body in [r#"{"b":1,"b":1}"#, r#"{"c":[{"b":{"d":1,"d":2}}]}"#] {
            assert_eq!(edited(change(), body), Err(EditError::KeyTwice), "{body}");
        }
        for body in ["", "not json", "{\"a\":1", "\u{feff}{}", "{} {}"] {
            assert_eq!(edited(change(), body), Err(EditError::NotJson), "{body}");
        }
        let text_like_numbers = r#"{"b":"1e5, {\": 0.10","n":-17,"f":0.5}"#;
        assert!(edited(change(), text_like_numbers).unwrap().is_some());
    }

    #[test]
    fn a_whole_body_is_taken_byte_by_byte() {
        let new = Edit::Body(RawBody::new("{ 1e5"));
        let (body, paths) = new.apply(&RawBody::new("{")).unwrap().unwrap();
        assert_eq!((body.as_bytes(), paths), (&b"{ 1e5"[..], vec![String::new()]));
        assert!(new.apply(&RawBody::new("{ 1e5")).unwrap().is_none());
        let long = Edit::Body(RawBody::new(vec![b' '; MOST_BYTES + 1]));
        assert!(matches!(long.apply(&RawBody::new("{")), Err(EditError::TooLong)));
    }

    #[test]
    fn operations_are_said_without_values() {
        let patch = r#"[{"op":"add","path":"/c","value":"secret"},{"op":"copy","from":"/c","path":"/d"}]"#;
        let changes =
            vec![set("/a", json!("secret")), remove("/b"), Change::Patch(serde_json::from_str(patch).unwrap())];
        let said = Edit::Changes(changes).operations();
        assert_eq!(said, ["set /a", "remove /b", "add /c", "copy /c to /d"]);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~é\"\\\\:{}]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a-z\":,]{0,4}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn only_what_is_set_changes(value in any_json(), new in any_json()) {
            let body = json!({"kept": value, "a": 0});
            let changed = edited(vec![set("/a", new.clone())], &serde_json::to_string_pretty(&body).unwrap()).unwrap();
            let after = changed.map_or(body, |(text, _)| serde_json::from_str(&text).unwrap());
            prop_assert_eq!(after, json!({"kept": value, "a": new}));
        }

        #[test]
        fn an_edited_body_is_json_whatever_the_body_was(body in any::<Vec<u8>>()) {
            let edited = Edit::Changes(vec![set("/a", json!(1)), remove("/b")]).apply(&RawBody::new(body));
            if let Ok(Some((body, _))) = edited {
                prop_assert!(serde_json::from_slice::<Value>(body.as_bytes()).is_ok());
            }
        }
    }
}
