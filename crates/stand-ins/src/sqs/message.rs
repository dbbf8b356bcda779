//! What a producer hands in: a body and attributes, within the limits of SQS.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use md5::{Digest, Md5};

use super::error::{ApiError, ErrorCode, shortened};

/// The most attributes of one message.
pub const MAX_ATTRIBUTES: usize = 10;

/// The longest name or data type of a message attribute, in characters.
const MAX_ATTRIBUTE_NAME: usize = 256;

/// A message that a producer sends: checked as far as it can be without knowing the queue.
pub struct NewMessage {
    /// The body's bytes.
    pub body: Bytes,
    /// The producer's own attributes.
    pub attributes: Option<Arc<Attributes>>,
    /// The X-Ray trace header, the only system attribute that a producer can set.
    pub trace_header: Option<Box<str>>,
    /// How long the message is hidden at first; the queue's own delay where absent.
    pub delay: Option<Duration>,
    /// The group that a FIFO queue keeps in order; the tenant of a standard queue.
    pub group: Option<Arc<str>>,
    /// The token by which a FIFO queue knows a repeated send.
    pub deduplication_id: Option<Arc<str>>,
}

impl NewMessage {
    /// A body and nothing else, unchecked.
    pub(super) fn of_body(body: Bytes) -> Self {
        Self { body, attributes: None, trace_header: None, delay: None, group: None, deduplication_id: None }
    }

    /// What counts towards the size limits: the body and the attributes' names, types and values.
    pub fn size(&self) -> usize {
        self.body.len() + self.attributes.as_ref().map_or(0, |attributes| attributes.size())
    }
}

/// The producer's attributes of a message, by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes(pub(super) BTreeMap<String, Attribute>);

/// One message attribute.
#[derive(Clone, PartialEq, Eq)]
pub struct Attribute {
    /// `String`, `Number` or `Binary`, with an optional label after a dot.
    pub data_type: String,
    /// The value.
    pub value: AttributeValue,
}

/// The value of a message attribute.
#[derive(Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// Of the types `String` and `Number`.
    Text(String),
    /// Of the type `Binary`.
    Binary(Bytes),
}

impl AttributeValue {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl Attributes {
    fn size(&self) -> usize {
        self.0.iter().map(|(name, a)| name.len() + a.data_type.len() + a.value.as_bytes().len()).sum()
    }

    /// Their digest, as SQS computes it.
    pub fn md5(&self) -> [u8; 16] {
        attributes_md5(self.0.iter().map(|(name, attribute)| (name.as_str(), attribute)))
    }
}

/// The MD5 over message attributes in the order of their names, each as length and bytes of name and type, one byte
/// for the kind of value, length and bytes of the value (developer guide, "Calculating the MD5 message digest for
/// message attributes").
pub(super) fn attributes_md5<'a>(sorted: impl Iterator<Item = (&'a str, &'a Attribute)>) -> [u8; 16] {
    let mut digest = Md5::new();
    for (name, attribute) in sorted {
        put(&mut digest, name.as_bytes());
        put(&mut digest, attribute.data_type.as_bytes());
        digest.update(match attribute.value {
            AttributeValue::Text(_) => [1],
            AttributeValue::Binary(_) => [2],
        });
        put(&mut digest, attribute.value.as_bytes());
    }
    digest.finalize().into()
}

fn put(digest: &mut Md5, bytes: &[u8]) {
    digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    digest.update(bytes);
}

/// The MD5 of a body's bytes.
pub(super) fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// The digest of the system attributes, where the one that exists was sent.
pub(super) fn system_attributes_md5(trace_header: &str) -> [u8; 16] {
    let attribute = Attribute { data_type: "String".to_owned(), value: AttributeValue::Text(trace_header.to_owned()) };
    attributes_md5(std::iter::once(("AWSTraceHeader", &attribute)))
}

/// Refuses the characters that SQS refuses: it takes #x9, #xA, #xD, #x20 to #xD7FF, #xE000 to #xFFFD and above #xFFFF.
pub(super) fn check_characters(text: &str) -> Result<(), ApiError> {
    match text.chars().find(|c| !is_allowed(*c)) {
        None => Ok(()),
        Some(refused) => {
            let message = format!(
                "Invalid character #x{:X} was found in the message: allowed are #x9 | #xA | #xD | #x20 to #xD7FF | \
                 #xE000 to #xFFFD | #x10000 to #x10FFFF",
                u32::from(refused)
            );
            Err(ApiError::new(ErrorCode::InvalidMessageContents, message))
        }
    }
}

fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// Refuses the names, types and values of message attributes that SQS refuses.
pub(super) fn check_attributes(attributes: &Attributes) -> Result<(), ApiError> {
    if attributes.0.len() > MAX_ATTRIBUTES {
        let sent = attributes.0.len();
        let message = format!("Number of message attributes [{sent}] exceeds the allowed maximum [{MAX_ATTRIBUTES}].");
        return Err(ApiError::invalid(message));
    }
    attributes.0.iter().try_for_each(|(name, attribute)| check_attribute(name, attribute))
}

fn check_attribute(name: &str, attribute: &Attribute) -> Result<(), ApiError> {
    let shown = shortened(name);
    if !is_attribute_name(name) {
        return Err(ApiError::invalid(format!("The message attribute name '{shown}' is not valid.")));
    }
    let (kind, label) = attribute.data_type.split_once('.').unwrap_or((&attribute.data_type, ""));
    if attribute.data_type.chars().count() > MAX_ATTRIBUTE_NAME || (kind != attribute.data_type && label.is_empty()) {
        return Err(ApiError::invalid(format!(
            "The message attribute '{shown}' has an invalid message attribute type."
        )));
    }
    match (kind, &attribute.value) {
        (_, value) if value.as_bytes().is_empty() => Err(ApiError::invalid(format!(
            "The message attribute '{shown}' must contain a non-empty message attribute value."
        ))),
        ("String", AttributeValue::Text(text)) => check_characters(text)
            .map_err(|_| ApiError::invalid(format!("The message attribute '{shown}' holds an invalid character."))),
        ("Number", AttributeValue::Text(text)) if is_number(text) => Ok(()),
        ("Number", AttributeValue::Text(_)) => {
            Err(ApiError::invalid(format!("Can't cast the value of message (user) attribute '{shown}' to a number.")))
        }
        ("Binary", AttributeValue::Binary(_)) => Ok(()),
        _ => Err(ApiError::invalid(format!(
            "The message attribute '{shown}' has an invalid message attribute type, or a value of another type; the \
             set of supported type prefixes is Binary, Number, and String."
        ))),
    }
}

/// SQS takes up to 38 digits and about 10⁻¹²⁸ to 10¹²⁶; what a float can hold is near enough for a stand-in.
fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn is_attribute_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    (1..=MAX_ATTRIBUTE_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !(name.starts_with('.') || name.ends_with('.') || name.contains(".."))
        && !(lower.starts_with("aws.") || lower.starts_with("amazon."))
}

/// Which message attributes a receive asks for.
#[derive(Default)]
pub struct AttributeFilter {
    pub(super) all: bool,
    names: Vec<String>,
    prefixes: Vec<String>,
}

impl AttributeFilter {
    /// Reads names, `All`, `.*`, and prefixes such as `bar.*`.
    pub fn new(asked: Vec<String>) -> Self {
        let mut filter = Self::default();
        for name in asked {
            match name.strip_suffix(".*") {
                Some("") => filter.all = true,
                None if name == "All" => filter.all = true,
                Some(prefix) => filter.prefixes.push(prefix.to_owned()),
                None => filter.names.push(name),
            }
        }
        filter
    }

    /// Whether the attribute of this name is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.all
            || self.names.iter().any(|wanted| wanted == name)
            || self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data_type: &str, value: &str) -> Attribute {
        Attribute { data_type: data_type.to_owned(), value: AttributeValue::Text(value.to_owned()) }
    }

    fn attributes(of: impl IntoIterator<Item = (&'static str, Attribute)>) -> Attributes {
        Attributes(of.into_iter().map(|(name, attribute)| (name.to_owned(), attribute)).collect())
    }

    fn hex(digest: [u8; 16]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn attribute_digests_are_those_that_sqs_answers() {
        let three = attributes([
            ("Hello", text("String", "There")),
            ("General", text("String", "Kenobi")),
            ("Help.Me", text("String", "Me")),
        ]);
        assert_eq!(hex(three.md5()), "4c360f3fdafd970e05fae2f149d997f5");
        assert_eq!(hex(attributes([("Hello", text("String", "There"))]).md5()), "a311262e065454b75da111d535b8dacd");
        let trace = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01";
        let binary =
            Attribute { data_type: "Binary".to_owned(), value: AttributeValue::Binary(Bytes::from_static(trace)) };
        assert_eq!(hex(attributes([("attr1", binary)]).md5()), "8cbe4db156db8a94db8b801b7addb984");
    }

    #[test]
    fn characters_outside_the_documented_set_are_refused() {
        for allowed in ["\t\n\r ~", "\u{7F}\u{85}", "\u{D7FF}", "\u{E000}\u{FFFD}", "\u{10000}\u{10FFFF}", "😀"] {
            assert!(check_characters(allowed).is_ok(), "{allowed:?}");
        }
        for refused in ["\0", "\u{8}", "\u{B}", "\u{C}", "\u{1F}", "\u{FFFE}", "\u{FFFF}"] {
            assert_eq!(check_characters(refused).unwrap_err().code, ErrorCode::InvalidMessageContents, "{refused:?}");
        }
    }

    #[test]
    fn attributes_outside_the_documented_rules_are_refused() {
        let good = [("a.b-c_9", text("String.label", "x")), ("n", text("Number", "-1.5e3"))];
        assert!(check_attributes(&attributes(good)).is_ok());
        let bad = [
            ("", text("String", "x")),
            (".a", text("String", "x")),
            ("a.", text("String", "x")),
            ("a..b", text("String", "x")),
            ("AWS.a", text("String", "x")),
            ("amazon.a", text("String", "x")),
            ("a b", text("String", "x")),
            ("a", text("", "x")),
            ("a", text("Text", "x")),
            ("a", text("String.", "x")),
            ("a", text("String", "")),
            ("a", text("String", "\0")),
            ("a", text("Number", "one")),
            ("a", text("Binary", "x")),
        ];
        for (name, attribute) in bad {
            let shown = format!("{name} {}", attribute.data_type);
            let refused = check_attributes(&attributes([(name, attribute)])).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidParameterValue, "{shown}");
        }
        let names: Vec<String> = (0..11).map(|n| format!("a{n}")).collect();
        let eleven = Attributes(names.into_iter().map(|name| (name, text("String", "x"))).collect());
        assert!(check_attributes(&eleven).is_err());
    }

    #[test]
    fn a_filter_takes_names_all_and_prefixes() {
        let filter = |names: &[&str]| AttributeFilter::new(names.iter().map(|&name| name.to_owned()).collect());
        assert!(filter(&["All"]).wants("x") && filter(&[".*"]).wants("x"));
        assert!(filter(&["Hel.*"]).wants("Hello") && filter(&["Hel.*"]).wants("Help.Me"));
        assert!(!filter(&["Hel.*"]).wants("General") && !filter(&["all"]).wants("x") && !filter(&[]).wants("x"));
        assert!(filter(&["a", "b"]).wants("b"));
    }
}
