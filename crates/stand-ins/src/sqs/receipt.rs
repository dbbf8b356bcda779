//! The receipt handle: which message of which queue, and which of its deliveries.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Which delivery of a message. Opaque to clients: base64 of three numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Receipt {
    /// The queue's random number, so that another queue's handle is told apart.
    pub(super) queue: u64,
    /// The message's place in the order of sends.
    pub(super) key: u64,
    /// Counts the deliveries of the queue.
    pub(super) delivery_number: u64,
}

impl Receipt {
    pub(super) fn write(self) -> String {
        let mut bytes = Vec::with_capacity(24);
        for number in [self.queue, self.key, self.delivery_number] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn read(handle: &str) -> Option<Self> {
        let bytes: [u8; 24] = URL_SAFE_NO_PAD.decode(handle).ok()?.try_into().ok()?;
        let (queue, rest) = bytes.split_first_chunk::<8>()?;
        let (key, delivery) = rest.split_first_chunk::<8>()?;
        let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        Some(Self { queue: number(queue), key: number(key), delivery_number: number(delivery.first_chunk::<8>()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_reads_back_and_any_other_text_does_not() {
        let receipt = Receipt { queue: u64::MAX, key: 7, delivery_number: 8 };
        let handle = receipt.write();
        assert!(Receipt::read(&handle) == Some(receipt));
        let cut: String = handle.chars().skip(1).collect();
        for other in ["", "x", "é", &cut, &format!("{handle}A"), &format!("{handle}="), "AQEBwJnK+/=="] {
            assert!(Receipt::read(other).is_none(), "{other}");
        }
    }
}
