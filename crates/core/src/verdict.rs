//! One message in, one verdict out: decoded, identified, masked, its body sealed.

use crate::decode::{Decoded, Form, Rejection};
use crate::fault::{self, Fault};
use crate::login::MaskedLogin;
use crate::mask::Masker;
use crate::message::{
    Attributes, BodyHash, Delivery, Identifier, IdentityKey, LoginHash, MessageHash, Original, ProducerContext,
    RawBody, ReceivedMessage, RequeueNote, SentAt,
};
use crate::seal::{BodySealer, SealedBody};

/// What decoding said of one delivery, everything personal in it masked, sealed or hashed.
pub struct Verdict {
    /// The delivery.
    pub delivery: Delivery,
    /// The message that it is a delivery of.
    pub hash: MessageHash,
    /// The key of a login under the scheme of its queue; none where it is not a login, and under the MessageId.
    pub identity: Option<LoginIdentity>,
    /// The keyed hash of its body.
    pub body_hash: BodyHash,
    /// Its body, sealed, in case it ends as a dead letter: the database may still refuse a login that decoded.
    pub sealed_body: SealedBody,
    /// The login, or why the body is none.
    pub content: Content,
    /// Keys of the body that are none of the login's.
    pub unknown_keys: usize,
    /// Which span of its producer sent it, where that is kept.
    pub origin: Option<ProducerContext>,
    /// Whether an operator sent it back to the queue: it is a delivery of the message that it was first.
    pub is_requeued: bool,
}

/// What a message turned out to be.
pub enum Content {
    /// A login, to be loaded.
    Login(MaskedLogin),
    /// Not a login, and where its body is wrong, which is looked for at the last attempt only. It is boxed, so that a login takes
    /// no more memory for it.
    Rejected(Rejection, Option<Box<Fault>>),
}

/// The key under which a producer sent a login, and what tells that login from another one under the same key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LoginIdentity {
    /// The key.
    pub key: IdentityKey,
    /// The login.
    pub login: LoginHash,
}

/// Makes the verdicts of one queue's messages under one keyring.
pub struct Judge {
    /// What the bodies are.
    pub form: Form,
    /// Makes the hashes of messages and logins.
    pub identifier: Identifier,
    /// Masks the logins.
    pub masker: Masker,
    /// Seals and hashes the bodies.
    pub sealer: BodySealer,
    /// How many deliveries a message that is not a login gets before it becomes a dead letter.
    pub max_attempts: u32,
}

impl Judge {
    /// The verdict on a message. What is clear in the message ends here.
    ///
    /// A body that is not a login has no key to trust: a broken message and its corrected successor must not absorb
    /// each other.
    pub fn judge(&self, message: ReceivedMessage) -> Verdict {
        let ReceivedMessage { mut delivery, body, attributes, producer: origin, requeued } = message;
        let says_so = requeued.is_some();
        let original = requeued.and_then(|note| self.original(&note, &delivery, &body, &attributes));
        let is_requeued = original.is_some();
        if let Some(Original { message_id, sent_at }) = original {
            delivery = Delivery { message_id, sent_at: SentAt::Queue(sent_at), ..delivery };
        }
        let hash = self.identifier.message(&delivery.message_id);
        let (body_hash, sealed_body) = self.sealer.seal(hash, &body, &attributes);
        let read = self
            .form
            .read(self.masker.stream(), &body)
            .and_then(|decoded| Ok((decoded, self.identifier.key(&body, &attributes, delivery.sent_at.of_queue())?)));
        let read = if says_so && !is_requeued { Err(Rejection::NotRequeued) } else { read };
        let (content, identity, unknown_keys) = match read {
            Ok((Decoded { login, unknown_keys }, key)) => {
                let identity = key.map(|key| LoginIdentity { key, login: self.identifier.login(&login) });
                (Content::Login(self.masker.mask(login)), identity, unknown_keys)
            }
            Err(rejection) => {
                let fault = self.fault(&delivery, &body, &rejection).map(Box::new);
                (Content::Rejected(rejection, fault), None, 0)
            }
        };
        Verdict { delivery, hash, identity, body_hash, sealed_body, content, unknown_keys, origin, is_requeued }
    }

    /// Which message this was first. On a queue without SentTimestamps there is none that can be claimed under one.
    fn original(
        &self,
        note: &RequeueNote,
        delivery: &Delivery,
        body: &RawBody,
        attributes: &Attributes,
    ) -> Option<Original> {
        delivery.sent_at.of_queue()?;
        self.identifier.original(note, body, attributes)
    }

    /// Where the body is wrong of a message that comes no more. One that comes again would be read twice each time.
    fn fault(&self, delivery: &Delivery, body: &RawBody, rejection: &Rejection) -> Option<Fault> {
        let has_attempts_left = delivery.receive_count < self.max_attempts;
        if has_attempts_left { None } else { fault::locate(&self.form, self.masker.stream(), body, rejection) }
    }
}
