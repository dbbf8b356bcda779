//! Where a producer was in a trace of its own when it sent a message.

use std::fmt;

/// A span of a producer, by the ids that the producer gave with a message. They name nobody, and are believed if they
/// can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerContext {
    /// The trace; not zero.
    pub trace_id: u128,
    /// The span in it; not zero.
    pub span_id: u64,
    /// Whether the producer keeps the trace.
    pub is_sampled: bool,
}

impl ProducerContext {
    /// Reads a `traceparent`: `00-TRACE-SPAN-FLAGS`, and whatever later versions put behind it
    /// ([W3C Trace Context](https://www.w3.org/TR/trace-context/#traceparent-header)).
    pub fn of_traceparent(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_known = version != "00" || parts.next().is_none();
        let (Some(version), Some(flags), true) = (hex(version, 2), hex(flags, 2), is_known) else { return None };
        Self::of(hex(trace, 32)?, hex(span, 16)?, flags & 1 == 1).filter(|_| version != 0xff)
    }

    /// Reads an `AWSTraceHeader`: `Root=1-TIME-REST;Parent=SPAN;Sampled=1`, in any order. One without a parent names no
    /// span.
    pub fn of_xray(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut fields = text.split(';').filter_map(|field| field.trim().split_once('='));
            fields.find_map(|(name, value)| (name == key).then_some(value))
        };
        let (time, rest) = value("Root")?.strip_prefix("1-")?.split_once('-')?;
        let trace = (hex(time, 8)? << 96) | hex(rest, 24)?;
        Self::of(trace, hex(value("Parent")?, 16)?, value("Sampled") == Some("1"))
    }

    fn of(trace_id: u128, span: u128, is_sampled: bool) -> Option<Self> {
        let span_id = u64::try_from(span).ok()?;
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, is_sampled })
    }
}

/// As a `traceparent` of version 00.
impl fmt::Display for ProducerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.is_sampled))
    }
}

/// A number in exactly so many hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: ProducerContext = ProducerContext {
        trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
        span_id: 0x00f0_67aa_0ba9_02b7,
        is_sampled: true,
    };

    #[test]
    fn a_traceparent_is_read_and_what_is_none_is_not() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(ProducerContext::of_traceparent(good), Some(CONTEXT));
        assert_eq!(CONTEXT.to_string(), good);
        let unsampled = ProducerContext { is_sampled: false, ..CONTEXT };
        assert_eq!(ProducerContext::of_traceparent(&good.replace("-01", "-00")), Some(unsampled));
        assert_eq!(unsampled.to_string(), good.replace("-01", "-00"));
        let later = format!("{}-more", good.replacen("00", "cc", 1));
        assert_eq!(ProducerContext::of_traceparent(&later), Some(CONTEXT));
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(ProducerContext::of_traceparent(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_trace_header_of_aws_is_read_where_it_names_a_span() {
        let whole = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1";
        assert_eq!(ProducerContext::of_xray(whole), Some(CONTEXT));
        let turned = "Sampled=0; Parent=00f067aa0ba902b7;Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Lineage=a:1";
        assert_eq!(ProducerContext::of_xray(turned), Some(ProducerContext { is_sampled: false, ..CONTEXT }));
        for bad in [
            "",
            "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736",
            "Root=1;Parent=00f067aa0ba902b7",
            "Parent=00f067aa0ba902b7",
        ] {
            assert_eq!(ProducerContext::of_xray(bad), None, "{bad}");
        }
    }
}
