//! One message in, one verdict out: decoded, identified, masked, its body sealed.

use crate::decode::{Decoded, Rejection, decode};
use crate::login::MaskedLogin;
use crate::mask::Masker;
use crate::message::{BodyHash, Delivery, Identifier, MessageHash, ReceivedMessage};
use crate::seal::{BodySealer, SealedBody};

/// What decoding said of one delivery, everything personal in it masked or sealed.
pub struct Verdict {
    /// The delivery.
    pub delivery: Delivery,
    /// The message that it is a delivery of.
    pub hash: MessageHash,
    /// The hash under which it must be claimed too, where its hashes alone claim it: see [`Identifier::second_hash`].
    pub second_hash: Option<MessageHash>,
    /// The keyed hash of its body.
    pub body_hash: BodyHash,
    /// Its body, sealed, in case it ends as a dead letter: the database may still refuse a login that decoded.
    pub sealed_body: SealedBody,
    /// The login, or why the body is none.
    pub content: Content,
    /// Keys of the body that are none of the login's.
    pub unknown_keys: usize,
}

/// What a message turned out to be.
pub enum Content {
    /// A login, to be loaded.
    Login(MaskedLogin),
    /// No login.
    Rejected(Rejection),
}

/// Makes the verdicts of one queue's messages under one keyring.
pub struct Judge {
    /// Makes the messages' hashes.
    pub identifier: Identifier,
    /// Masks the logins.
    pub masker: Masker,
    /// Seals and hashes the bodies.
    pub sealer: BodySealer,
}

impl Judge {
    /// The verdict on a message. What is clear in the message ends here.
    ///
    /// A rejected message is identified by its MessageId, whatever the scheme: see [`Identifier::hash_by_message_id`].
    pub fn judge(&self, message: ReceivedMessage) -> Verdict {
        let (body_hash, sealed_body) = self.sealer.seal(&message.body);
        let decoded = decode(&message.body)
            .and_then(|decoded| self.identifier.hash(&message).map(|hash| (hash, decoded)).map_err(Rejection::from));
        let delivery = message.delivery;
        let second_hash = self.identifier.second_hash(&delivery);
        match decoded {
            Ok((hash, Decoded { login, unknown_keys })) => {
                let content = Content::Login(self.masker.mask(login));
                Verdict { delivery, hash, second_hash, body_hash, sealed_body, content, unknown_keys }
            }
            Err(rejection) => {
                let hash = self.identifier.hash_by_message_id(&delivery.message_id);
                let content = Content::Rejected(rejection);
                Verdict { delivery, hash, second_hash, body_hash, sealed_body, content, unknown_keys: 0 }
            }
        }
    }
}
