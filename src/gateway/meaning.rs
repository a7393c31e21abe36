//! The words for a gateway that breaks the WebSocket protocol.

use tokio_tungstenite::tungstenite::error::ProtocolError;

use crate::model::printable;

/// What a violation of the WebSocket protocol means in terms of the bytes that came.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's list grows; what is not named here says itself well enough"
)]
pub(super) fn meaning(error: &ProtocolError) -> String {
    let what = match error {
        ProtocolError::NonZeroReservedBits => {
            "a frame with reserved bits set, though no extension was agreed".to_owned()
        }
        ProtocolError::MaskedFrameFromServer => "a masked frame, which only clients may send".to_owned(),
        ProtocolError::UnknownDataFrameType(code) | ProtocolError::UnknownControlFrameType(code) => {
            format!("a frame of the unknown type {code}")
        }
        ProtocolError::InvalidOpcode(code) => format!("a frame of the unknown type {code}"),
        ProtocolError::FragmentedControlFrame => "a control frame in several pieces".to_owned(),
        ProtocolError::ControlFrameTooBig => "a control frame of more than 125 bytes".to_owned(),
        ProtocolError::UnexpectedContinueFrame => "a continuation of no message".to_owned(),
        ProtocolError::ExpectedFragment(_) => "a new message inside an unfinished one".to_owned(),
        ProtocolError::ReceivedAfterClosing => "data after its close frame".to_owned(),
        other => printable(&other.to_string(), 200),
    };
    format!("the gateway broke the WebSocket protocol: {what}")
}
