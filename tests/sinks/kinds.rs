//! The kinds of sinks: how each is opened, how its protocol says what is sent, and how the other side answers in it.

use std::fmt::Write as _;

use serde_json::{Value, json};
use turnstile::queue::sqs::{Sender, SqsSettings};
use turnstile::sink::http::{HttpSettings, HttpSink, Secrets};
use turnstile::sink::sns::SnsSink;
use turnstile::sink::sqs::SqsSink;
use turnstile::sink::{AnySink, envelope};

use super::other_side::Came;
use crate::support::scripted_http::{Asked, Reply, aws_at, md5_of};

/// What the requests of an HTTP sink are signed with.
pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(super) const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:events";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sqs,
    SqsFifo,
    Sns,
    SnsFifo,
    Http,
    HttpBatch,
}

/// Why the other side takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum No {
    Down,
    Throttled,
    Unauthorised,
    Missing,
}

impl Kind {
    pub(super) const fn is_fifo(self) -> bool {
        matches!(self, Self::SqsFifo | Self::SnsFifo)
    }

    pub(super) const fn is_sqs(self) -> bool {
        matches!(self, Self::Sqs | Self::SqsFifo)
    }

    pub(super) const fn is_sns(self) -> bool {
        matches!(self, Self::Sns | Self::SnsFifo)
    }

    /// Whether an answer says of each entry what became of it.
    pub(super) const fn answers_by_entry(self) -> bool {
        self.is_sqs() || self.is_sns()
    }

    /// Whether an answer that nobody can read leaves it open whether the events were taken. To an HTTP sink its status says it.
    pub(super) const fn reads_answers(self) -> bool {
        self.answers_by_entry()
    }

    pub(super) async fn open(self, endpoint: &str) -> AnySink {
        let fifo = if self.is_fifo() { ".fifo" } else { "" };
        match self {
            Self::Sqs | Self::SqsFifo => {
                let queue = format!("{endpoint}/123456789012/events{fifo}").parse().unwrap();
                let sender = Sender::connect_with(&SqsSettings::new(queue), "turnstile", &aws_at(endpoint)).await;
                AnySink::Sqs(SqsSink::of(sender.unwrap()))
            }
            Self::Sns | Self::SnsFifo => {
                let topic = format!("{TOPIC}{fifo}").parse().unwrap();
                AnySink::Sns(SnsSink::connect_with(topic, false, &aws_at(endpoint)).await.unwrap())
            }
            Self::Http | Self::HttpBatch => {
                let settings = HttpSettings {
                    batch: (self == Self::HttpBatch).then_some(7),
                    deadline: std::time::Duration::from_secs(5),
                    secrets: Some(Secrets::parse(SECRET).unwrap()),
                    ..HttpSettings::default()
                };
                AnySink::Http(Box::new(HttpSink::at(format!("{endpoint}/events").parse().unwrap(), settings).unwrap()))
            }
        }
    }

    /// What a request sends; none where it asks for something else.
    pub(super) fn came(self, asked: &Asked) -> Option<Vec<Came>> {
        match self {
            Self::Sqs | Self::SqsFifo => {
                (asked.call == "SendMessageBatch").then(|| entries_of(&asked.body).map(Came::of_sqs).collect())
            }
            Self::Sns | Self::SnsFifo => {
                let form = form(&asked.bytes);
                (form.get("Action")? == "PublishBatch").then(|| {
                    let entries = (1..).map(|n| format!("PublishBatchRequestEntries.member.{n}."));
                    entries.map_while(|entry| Came::of_sns(&form, &entry)).collect()
                })
            }
            Self::Http => Some(vec![Came::plain(String::from_utf8(asked.bytes.to_vec()).unwrap())]),
            Self::HttpBatch => {
                let list = str::from_utf8(&asked.bytes).unwrap();
                let list = list.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap();
                Some(texts_of(list).map(|text| Came::plain(text.to_owned())).collect())
            }
        }
    }

    /// Every event is taken, but for those in `refused`, by their numbers, with whether that is the sender's fault.
    pub(super) fn taken(self, came: &[Came], refused: &[(usize, bool)]) -> Reply {
        let is_refused = |number: &usize| refused.iter().any(|(refused, _)| refused == number);
        let taken = (0..came.len()).filter(|number| !is_refused(number));
        let code = |sender| match (self.is_sqs(), sender) {
            (true, true) => "InvalidMessageContents",
            (false, true) => "InvalidParameter",
            (_, false) => "InternalError",
        };
        match self {
            Self::Sqs | Self::SqsFifo => {
                let done = |n: usize| json!({"Id": came[n].entry, "MessageId": format!("m-{n}"), "MD5OfMessageBody": md5_of(came[n].body.as_bytes())});
                let failed = |(n, sender): &(usize, bool)| json!({"Id": came[*n].entry, "Code": code(*sender), "SenderFault": sender});
                let (done, failed): (Vec<Value>, Vec<Value>) =
                    (taken.map(done).collect(), refused.iter().map(failed).collect());
                Reply::json(json!({"Successful": done, "Failed": failed}))
            }
            Self::Sns | Self::SnsFifo => {
                let mut members = String::from("<PublishBatchResult><Successful>");
                for n in taken {
                    write!(members, "<member><Id>{}</Id><MessageId>m-{n}</MessageId></member>", came[n].entry).unwrap();
                }
                members.push_str("</Successful><Failed>");
                for (n, sender) in refused {
                    let (id, code) = (&came[*n].entry, code(*sender));
                    write!(
                        members,
                        "<member><Id>{id}</Id><Code>{code}</Code><SenderFault>{sender}</SenderFault></member>"
                    )
                    .unwrap();
                }
                members.push_str("</Failed></PublishBatchResult>");
                Reply::raw(200, of_sns("PublishBatchResponse", &members))
            }
            Self::Http | Self::HttpBatch => Reply::raw(204, ""),
        }
    }

    /// The whole call is refused for one of its events.
    pub(super) fn refusal(self) -> Reply {
        match self {
            Self::Sqs | Self::SqsFifo => Reply::error(400, "InvalidMessageContents"),
            Self::Sns | Self::SnsFifo => sns_error(400, "InvalidParameter", "Invalid parameter: Message"),
            Self::Http | Self::HttpBatch => Reply::raw(422, "as scripted"),
        }
    }

    /// The events are too large, one of them or all together.
    pub(super) fn too_large(self, is_one: bool) -> Reply {
        match (self, is_one) {
            (Self::Sqs | Self::SqsFifo, true) => Reply::error(400, "InvalidParameterValue"),
            (Self::Sqs | Self::SqsFifo, false) => Reply::error(400, "BatchRequestTooLong"),
            (Self::Sns | Self::SnsFifo, true) => {
                sns_error(400, "InvalidParameter", "Invalid parameter: Message too long")
            }
            (Self::Sns | Self::SnsFifo, false) => sns_error(400, "BatchRequestTooLong", "too long"),
            (Self::Http | Self::HttpBatch, _) => Reply::raw(413, ""),
        }
    }

    pub(super) fn no(self, why: No) -> Reply {
        match (self, why) {
            (Self::Sqs | Self::SqsFifo, No::Down) => Reply::error(500, "InternalError"),
            (Self::Sqs | Self::SqsFifo, No::Throttled) => Reply::error(400, "ThrottlingException"),
            (Self::Sqs | Self::SqsFifo, No::Unauthorised) => Reply::error(403, "AccessDeniedException"),
            (Self::Sqs | Self::SqsFifo, No::Missing) => Reply::error(400, "QueueDoesNotExist"),
            (Self::Sns | Self::SnsFifo, No::Down) => sns_error(500, "InternalError", ""),
            (Self::Sns | Self::SnsFifo, No::Throttled) => sns_error(429, "ThrottledException", ""),
            (Self::Sns | Self::SnsFifo, No::Unauthorised) => sns_error(403, "AuthorizationError", ""),
            (Self::Sns | Self::SnsFifo, No::Missing) => sns_error(404, "NotFound", "Topic does not exist"),
            (Self::Http | Self::HttpBatch, No::Down) => Reply::raw(503, "<html>as scripted</html>"),
            (Self::Http | Self::HttpBatch, No::Throttled) => Reply::raw(429, "").with_header("retry-after", "1"),
            (Self::Http | Self::HttpBatch, No::Unauthorised) => Reply::raw(401, ""),
            (Self::Http | Self::HttpBatch, No::Missing) => Reply::raw(404, ""),
        }
    }

    /// What is asked before the first event is sent.
    pub(super) fn facts(self, most_bytes: Option<usize>) -> Reply {
        let size =
            most_bytes.map(|bytes| format!("<entry><key>MaximumMessageSize</key><value>{bytes}</value></entry>"));
        let attributes = format!(
            "<GetTopicAttributesResult><Attributes>{}</Attributes></GetTopicAttributesResult>",
            size.unwrap_or_default()
        );
        Reply::raw(200, of_sns("GetTopicAttributesResponse", &attributes))
    }
}

impl Came {
    fn plain(body: String) -> Self {
        Self { entry: String::new(), body, deduplication_id: None, group: None, attributes: Vec::new() }
    }

    fn of_sqs(entry: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let attributes = entry["MessageAttributes"].as_object().into_iter().flatten();
        Self {
            entry: text(&entry["Id"]).unwrap(),
            body: text(&entry["MessageBody"]).unwrap(),
            deduplication_id: text(&entry["MessageDeduplicationId"]),
            group: text(&entry["MessageGroupId"]),
            attributes: attributes.map(|(name, value)| (name.clone(), text(&value["StringValue"]).unwrap())).collect(),
        }
    }

    fn of_sns(form: &std::collections::HashMap<String, String>, entry: &str) -> Option<Self> {
        let field = |name: &str| form.get(&format!("{entry}{name}")).cloned();
        let attribute = |n: usize| {
            let field = |name: &str| field(&format!("MessageAttributes.entry.{n}.{name}"));
            Some((field("Name")?, field("Value.StringValue")?))
        };
        Some(Self {
            entry: field("Id")?,
            body: field("Message")?,
            deduplication_id: field("MessageDeduplicationId"),
            group: field("MessageGroupId"),
            attributes: (1..).map_while(attribute).collect(),
        })
    }

    /// Its bytes as a queue counts them.
    pub(super) fn bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, text)| name.len() + "String".len() + text.len());
        self.body.len() + attributes.sum::<usize>()
    }
}

/// How large an event is to the other side of this kind.
pub(super) fn size(kind: Kind, body: &str) -> usize {
    body.len() + if kind.answers_by_entry() { envelope::ATTRIBUTE_BYTES } else { 0 }
}

fn entries_of(body: &Value) -> impl Iterator<Item = &Value> {
    body["Entries"].as_array().unwrap().iter()
}

/// The texts of values that commas separate.
fn texts_of(mut list: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let mut values = serde_json::Deserializer::from_str(list).into_iter::<Value>();
        values.next()?.unwrap();
        let (text, rest) = list.split_at(values.byte_offset());
        list = rest.strip_prefix(',').unwrap_or(rest);
        Some(text)
    })
}

fn of_sns(name: &str, inside: &str) -> String {
    format!(
        "<{name} xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">{inside}<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{name}>"
    )
}

fn sns_error(status: u16, code: &str, said: &str) -> Reply {
    let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{said}</Message></Error>");
    Reply::raw(status, of_sns("ErrorResponse", &error))
}

/// The fields of a form.
fn form(bytes: &[u8]) -> std::collections::HashMap<String, String> {
    let pairs = str::from_utf8(bytes).unwrap().split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (unescaped(name), unescaped(value))).collect()
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
