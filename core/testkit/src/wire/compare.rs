//! The core's decoder beside the reference.

use forebay_core::wire::{Decoded, Decoder, Item, MessageKind, Role, WireError};

use super::reference::{Deflate, Fault, Reader, Rules, Told};

/// The reference's name for what the core calls so.
#[must_use]
pub const fn fault_of(error: WireError) -> Fault {
    match error {
        WireError::CorruptDeflate => Fault::CorruptDeflate,
        WireError::ReservedBits => Fault::ReservedBits,
        WireError::ReservedOpcode => Fault::ReservedOpcode,
        WireError::FragmentedControl => Fault::FragmentedControl,
        WireError::ControlTooLong => Fault::ControlTooLong,
        WireError::Unmasked => Fault::Unmasked,
        WireError::Masked => Fault::Masked,
        WireError::LengthNotMinimal => Fault::LengthNotMinimal,
        WireError::LengthOverflow => Fault::LengthOverflow,
        WireError::UnexpectedContinuation => Fault::UnexpectedContinuation,
        WireError::InterleavedMessage => Fault::InterleavedMessage,
        WireError::MessageTooBig => Fault::MessageTooBig,
        WireError::Flood => Fault::Flood,
        WireError::InvalidUtf8 => Fault::InvalidUtf8,
        WireError::CloseTruncated => Fault::CloseTruncated,
        WireError::CloseCodeInvalid => Fault::CloseCodeInvalid,
        WireError::CloseReasonInvalid => Fault::CloseReasonInvalid,
    }
}

/// Text or binary, and whether it is compressed.
type Kind = (MessageKind, bool);

/// The core's decoder, its pieces put together.
#[derive(Debug)]
struct Ours {
    decoder: Decoder,
    /// What it left unconsumed.
    left: Vec<u8>,
    told: Vec<Told>,
    open: Option<(Kind, Vec<u8>)>,
    error: Option<WireError>,
}

impl Ours {
    fn new(rules: Rules) -> Self {
        let role = if rules.from_client { Role::Server } else { Role::Client };
        let limit = u64::try_from(rules.message_bytes_max).expect("64 bits");
        let decoder = Decoder::new(role, limit);
        let decoder = if rules.deflate == Deflate::Declined { decoder } else { decoder.with_deflate() };
        Self { decoder, left: Vec::new(), told: Vec::new(), open: None, error: None }
    }

    /// Whether what follows means nothing.
    fn is_over(&self) -> bool {
        self.error.is_some() || matches!(self.told.last(), Some(Told::Close(_)))
    }

    fn take(&mut self, piece: &[u8]) {
        let mut input = std::mem::take(&mut self.left);
        input.extend(piece);
        let mut done = 0;
        loop {
            let was_over = self.is_over();
            let left = input.len() - done;
            let item = match self.decoder.decode(&mut input[done..]) {
                Ok(Decoded { consumed, item }) => {
                    done += consumed;
                    assert!(consumed > 0 || item.is_none(), "an item for nothing, for ever");
                    assert!(!was_over || (item.is_none() && consumed == left), "behind the end all is consumed");
                    item
                }
                Err(error) => {
                    assert!(!was_over, "{error:?} behind the end");
                    self.error = Some(error);
                    continue;
                }
            };
            let Some(item) = item else { break };
            let told = match item {
                Item::Data { kind, payload, first, last, is_compressed } => {
                    piece_of(&mut self.open, (kind, is_compressed), payload, (first, last))
                }
                Item::Ping(payload) => Some(Told::Ping(payload.into())),
                Item::Pong(payload) => Some(Told::Pong(payload.into())),
                Item::Close(close) => Some(Told::Close(close.map(|(code, reason)| (code.get(), reason.to_owned())))),
            };
            self.told.extend(told);
        }
        self.left = input.split_off(done);
    }
}

/// Puts a piece behind those of its message; the message, if it is whole.
fn piece_of(
    open: &mut Option<(Kind, Vec<u8>)>,
    kind: Kind,
    payload: &[u8],
    (first, last): (bool, bool),
) -> Option<Told> {
    assert_eq!(first, open.is_none(), "the first piece, and no other, is said to be the first");
    let (begun, whole) = open.get_or_insert((kind, Vec::new()));
    assert_eq!(*begun, kind, "all pieces of a message are of its kind");
    whole.extend(payload);
    if !last {
        return None;
    }
    let ((kind, is_compressed), payload) = open.take().expect("just put there");
    Some(Told::Message { is_text: kind == MessageKind::Text, is_compressed, payload })
}

/// Gives a stream to both, in pieces of these sizes (for ever again), and compares after every piece. Returns the
/// reference as it is at the end.
///
/// # Panics
/// If they do not agree.
pub fn compare(rules: Rules, stream: &[u8], pieces: &[usize]) -> Reader {
    let mut reader = Reader::new(rules);
    let mut ours = Ours::new(rules);
    let (mut at, mut agreed, mut lent) = (0, 0, 0);
    for size in pieces.iter().cycle() {
        if at == stream.len() {
            break;
        }
        let end = at.saturating_add((*size).max(1)).min(stream.len());
        for byte in &stream[at..end] {
            reader.take(*byte);
        }
        ours.take(&stream[at..end]);
        at = end;
        assert_eq!(ours.told[agreed..], reader.told[agreed..], "at byte {at}");
        if agreed < ours.told.len() {
            (agreed, lent) = (ours.told.len(), 0);
        }
        lent = compare_state(&ours, &reader, at, lent);
        let left = ours.left.len();
        assert!(left < 2 + 4 + 125, "{left} bytes are left unconsumed at byte {at}");
        assert_eq!(ours.left, stream[at - left..at], "what is not consumed is not touched");
    }
    reader
}

/// Compares all but what was told. Of the message in progress, `lent` bytes were compared before; returns how many now.
fn compare_state(ours: &Ours, reader: &Reader, at: usize, lent: usize) -> usize {
    let fault = ours.error.map(fault_of);
    let agree = fault.map_or(reader.faults.is_empty(), |fault| reader.faults.contains(&fault));
    assert!(agree, "at byte {at}: {fault:?} instead of {:?}", reader.faults);
    let code = ours.error.map(|error| error.close_code().get());
    assert!(
        code.is_none_or(|code| reader.close_codes().contains(&code)),
        "at byte {at}: {fault:?} closes with {code:?}"
    );
    let expected = reader.open.as_ref();
    let (expected_kind, expected_payload) = expected
        .map_or((None, &[][..]), |open| (Some((kind(open.is_text), open.is_compressed)), open.payload.as_slice()));
    let payload = ours.open.as_ref().map_or(&[][..], |(_, payload)| payload);
    if let Some((kind, _)) = &ours.open {
        assert_eq!(Some(*kind), expected_kind, "at byte {at}: the kind of the message in progress");
    }
    let lent = if lent > payload.len() { 0 } else { lent };
    assert!(expected_payload[lent..].starts_with(&payload[lent..]), "at byte {at}: the message in progress");
    if !reader.is_over() {
        assert_eq!(payload.len(), expected_payload.len(), "at byte {at}: all that has arrived of a message is lent");
        assert_eq!(ours.decoder.is_between_messages(), expected.is_none(), "at byte {at}: between messages");
    }
    payload.len()
}

const fn kind(is_text: bool) -> MessageKind {
    if is_text { MessageKind::Text } else { MessageKind::Binary }
}

#[cfg(test)]
mod tests {
    use forebay_core::wire::decoder;

    use super::super::reference;

    #[test]
    fn both_know_the_same_numbers() {
        assert_eq!(u128::from(decoder::WORK_CREDIT), reference::WORK_CREDIT);
        assert_eq!(u128::from(decoder::FRAME_COST), reference::FRAME_COST);
        assert_eq!(u128::from(decoder::INFLATE_COST), reference::INFLATE_COST);
    }
}
