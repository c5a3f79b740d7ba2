//! What clients write, and what of it arrives.

use forebay_core::{ConnId, LaneOptions, Mode, Peer, Upgraded, wire::WireError};

use super::delivery::from_members;
use super::{IDS, KEYS, Op, Play, SEATS, Seat, Side, name_of, place, same};
use crate::mini::{frame, handshake};
use crate::model::plan::{age_of, policy_of};
use crate::model::reference::{Ask, Reference, Request, Said, Segment, Verdict};
use crate::model::text;

/// What breaks RFC 6455: bytes, the code of the Close frame, and what the hub calls it.
pub(crate) const CRIMES: [(&[u8], u16, WireError); 4] = [
    (b"\xC1\x80\0\0\0\0", 1002, WireError::ReservedBits),
    (b"\x83\x80\0\0\0\0", 1002, WireError::ReservedOpcode),
    (b"\x80\x80\0\0\0\0", 1002, WireError::UnexpectedContinuation),
    (b"\x81\x82\0\0\0\0\xC3\x28", 1007, WireError::InvalidUtf8),
];

/// Requests that are answered by an error whatever there is: members, and the code.
const NONSENSE: [(&str, &str); 6] = [
    ("\"op\":\"dance\"", "unknown-op"),
    ("\"op\":\"ack\",\"topic\":\"a\"", "bad-message"),
    ("\"op\":\"credit\"", "bad-message"),
    ("\"op\":\"subscribe\",\"topic\":7", "bad-message"),
    ("\"op\":\"publish\",\"topic\":\"a\"", "bad-message"),
    ("\"op\":\"publish\",\"topic\":\"a\",\"data\":1,\"data64\":\"\"", "bad-message"),
];

/// What a subscriber asks for, from the numbers of the act `subscribe`.
pub(super) fn wish(args: &[u64]) -> LaneOptions {
    LaneOptions {
        policy: policy_of(args[2]),
        messages_max: (args[3] > 0).then(|| u32::try_from(args[3]).unwrap_or(u32::MAX)),
        bytes_max: (args[4] > 0).then_some(args[4]),
        age_max: age_of(args[5]),
        at_least_once: [None, Some(false), Some(true)][place(args[9], 3)],
        credit: args[10].checked_sub(1).map(|credit| u32::try_from(credit).unwrap_or(u32::MAX)),
    }
}

impl Seat {
    fn new(conn: ConnId) -> Self {
        Self {
            conn,
            written: Default::default(),
            whole: Default::default(),
            out: None,
            is_blocked: false,
            has_socket: true,
            masks: 0,
            last_id: 0,
        }
    }

    fn frame(&mut self, fin: bool, opcode: u8, payload: &[u8]) -> usize {
        self.masks = self.masks.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let frame = frame::encode(fin, opcode, payload, Some(self.masks.to_le_bytes()));
        self.written.extend(&frame);
        frame.len()
    }

    /// An id of a request: numbers and texts take turns.
    fn id(&mut self, with_id: u64) -> Option<String> {
        self.last_id += 1;
        let number = self.last_id;
        (with_id > 0).then(|| if number.is_multiple_of(2) { format!("\"i-{number}\"") } else { number.to_string() })
    }
}

impl Side {
    /// The reference learns what a client has written.
    fn wrote(&mut self, conn: ConnId, len: usize, said: Said) {
        let is_whole = matches!(said, Said::Crime(..));
        if let Some(seat) = self.seats.iter_mut().flatten().find(|seat| seat.conn == conn) {
            seat.whole.push_back((len, is_whole));
        }
        if let Some(conn) = self.model.conns.get_mut(&conn) {
            let head = match &said {
                Said::Piece | Said::Request(..) | Said::Message { .. } => head_of(len),
                _ => 0,
            };
            conn.wire.push_back(Segment { len, head, said });
        }
    }

    fn write_message(&mut self, conn: ConnId, seat: u64, opcode: u8, bytes: &[u8], fragment: usize, said: &Said) {
        let fragment = if fragment == 0 || bytes.is_empty() { bytes.len().max(1) } else { fragment };
        let count = bytes.len().div_ceil(fragment).max(1);
        for number in 0..count {
            let is_last = number + 1 == count;
            let piece = &bytes[number * fragment..bytes.len().min((number + 1) * fragment)];
            let opcode = if number == 0 { opcode } else { 0 };
            let len = self.seat(seat).expect("a seat").frame(is_last, opcode, piece);
            self.wrote(conn, len, if is_last { said.clone() } else { Said::Piece });
        }
    }
}

impl Play {
    pub(super) fn accept(&mut self, side: usize, args: &[u64]) -> Verdict {
        let now = self.told_now();
        let place = &mut self.sides[side];
        if place.seat(args[0]).is_some() {
            return Ok(());
        }
        let is_raw = args[1] == 1;
        let peer = Peer { mode: if is_raw { Mode::Raw } else { Mode::Dialect }, ..Peer::default() };
        place.model.advance(now.as_nanos());
        let is_upgraded = args[2] == 1;
        let accepted = if is_upgraded {
            let protocol = if args[0].is_multiple_of(2) && !is_raw { Some("forebay.v1") } else { None };
            place.hub.handle_upgraded(Upgraded { peer, protocol, deflate: None }, b"", now)
        } else {
            place.hub.handle_accept(peer, now)
        };
        same("accept", accepted.err(), place.model.may_accept())?;
        let Ok(conn) = accepted else {
            place.model.end_call();
            return place.compare_numbers();
        };
        if place.model.conns.contains_key(&conn) {
            return Err(format!("{conn:?} is named twice"));
        }
        place.model.accept(conn, is_raw, is_upgraded);
        place.model.end_call();
        let mut seat = Seat::new(conn);
        let seat_number = super::place(args[0], SEATS);
        if is_upgraded {
            self.tally.upgraded += 1;
            place.seats[seat_number] = Some(seat);
            // The leftover was empty.
            place.model.bytes(conn, 0);
        } else {
            let mut nonce = [0; 16];
            nonce[..8].copy_from_slice(&(self.payloads + self.steps).to_le_bytes());
            let key = handshake::key_of(nonce);
            let protocols: Vec<&'static str> = match args[0] % 3 {
                0 => vec!["forebay.v1"],
                1 => vec![],
                _ => vec!["chat", "forebay.v1"],
            };
            let request = handshake::request(&key, "/", &protocols);
            seat.written.extend(&request);
            place.seats[seat_number] = Some(seat);
            place.wrote(conn, request.len(), Said::Handshake { key, protocols });
            self.tally.handshakes += 1;
        }
        self.sides[side].compare_numbers()
    }

    pub(super) fn say(&mut self, side: usize, op: Op, args: &[u64]) {
        let seat = args[0];
        let Some(conn) = self.sides[side].conn_of(seat) else { return };
        match op {
            Op::SayMessage => {
                let bytes = if args[2] == 1 { self.payload(args[1], false) } else { vec![b'x'; small(args[1])] };
                let said = Said::Message { is_text: args[2] != 1, bytes: bytes.clone() };
                let opcode = if args[2] == 1 { 2 } else { 1 };
                self.sides[side].write_message(conn, seat, opcode, &bytes, small(args[3]), &said);
            }
            Op::SayControl => {
                let payload = self.payload(args[2].min(100), false);
                let opcode = if args[1] == 1 { 10 } else { 9 };
                let len = self.sides[side].seat(seat).expect("a seat").frame(true, opcode, &payload);
                let said = if args[1] == 1 { Said::Pong } else { Said::Ping(payload) };
                self.sides[side].wrote(conn, len, said);
            }
            Op::SayClose => {
                let code = (args[1] > 0).then(|| u16::try_from(args[1]).unwrap_or(1000));
                let payload = code.map_or(Vec::new(), |code| frame::close_payload(code, "bye"));
                let len = self.sides[side].seat(seat).expect("a seat").frame(true, 8, &payload);
                self.sides[side].wrote(conn, len, Said::Close(code));
            }
            Op::SayCrime => {
                let number = place(args[1], CRIMES.len());
                let (bytes, code, error) = CRIMES[number];
                self.sides[side].seat(seat).expect("a seat").written.extend(bytes);
                self.sides[side].wrote(conn, bytes.len(), Said::Crime(code, error));
            }
            _ => self.say_request(side, op, args, conn),
        }
    }

    fn say_request(&mut self, side: usize, op: Op, args: &[u64], conn: ConnId) {
        let seat = args[0];
        let with_id = match op {
            Op::SaySubscribe => args[6],
            Op::SayUnsubscribe | Op::SayNonsense => args[2],
            Op::SayPing => args[1],
            Op::SayCredit => args[3],
            Op::SayKeep => args[2],
            Op::SayResume => args[5],
            Op::SayAck => 0,
            _ => args[5],
        };
        let id = self.sides[side].seat(seat).expect("a seat").id(with_id);
        let topic = name_of(args[1]);
        let (members, ask) = match op {
            Op::SaySubscribe => {
                let wish = wish(args);
                let from = self.sides[side].start(args[1], &args[7..]);
                let mut members = format!("\"op\":\"subscribe\",\"topic\":{}", text::quoted(topic));
                if let Some(policy) = wish.policy {
                    members += &format!(",\"policy\":\"{}\"", policy.name());
                }
                for (name, value) in [("messages_max", args[3]), ("bytes_max", args[4]), ("age_max_ms", args[5])] {
                    if value > 0 {
                        members += &format!(",\"{name}\":{value}");
                    }
                }
                members += &from_members(from);
                if let Some(is_wanted) = wish.at_least_once {
                    let name = if is_wanted { "at-least-once" } else { "best-effort" };
                    members += &format!(",\"delivery\":\"{name}\"");
                }
                if let Some(credit) = wish.credit {
                    members += &format!(",\"credit\":{credit}");
                }
                (members, Ask::Subscribe(topic.into(), wish, from))
            }
            Op::SayUnsubscribe => {
                (format!("\"op\":\"unsubscribe\",\"topic\":{}", text::quoted(topic)), Ask::Unsubscribe(topic.into()))
            }
            Op::SayPublish => {
                let key = KEYS[place(args[2], KEYS.len())];
                let is_text = args[4] != 1;
                let bytes = self.payload(args[3], is_text);
                let key_member = if key.is_empty() { String::new() } else { format!(",\"key\":{}", text::quoted(key)) };
                let data = text::data_member(is_text, &bytes);
                let message_id = IDS[place(args[6], IDS.len())];
                let id_member =
                    if args[6] == 0 { String::new() } else { format!(",\"message_id\":{}", text::quoted(message_id)) };
                let members =
                    format!("\"op\":\"publish\",\"topic\":{}{key_member}{id_member}{data}", text::quoted(topic));
                (members, Ask::Publish(topic.into(), Reference::draft(key, is_text, bytes).with_id(message_id)))
            }
            Op::SayPing => ("\"op\":\"ping\"".into(), Ask::Ping),
            Op::SayAck | Op::SayCredit => self.sides[side].delivery_request(op, args),
            Op::SayKeep | Op::SayResume => self.sides[side].session_request(op, args),
            _ => {
                let (members, code) = NONSENSE[place(args[1], NONSENSE.len())];
                (members.into(), Ask::Nonsense(code))
            }
        };
        let text = format!("{{{members}{}}}", text::id_member(id.as_deref()));
        let request = Request { ask, id, len: text.len() };
        let said = Said::Request(request, text.clone().into_bytes());
        self.sides[side].write_message(conn, seat, 1, text.as_bytes(), 0, &said);
    }

    /// So many bytes of those that were written arrive.
    pub(super) fn deliver(&mut self, side: usize, args: &[u64]) -> Verdict {
        self.tick()?;
        let now = self.told_now();
        let place = &mut self.sides[side];
        let Some(seat) = place.seat(args[0]).filter(|seat| seat.has_socket) else { return Ok(()) };
        let mut len = small(args[1]).min(seat.written.len());
        // Of what breaks the protocol all arrives: a hub may see it at its first byte, or at its last.
        let mut at = 0;
        for (piece, is_whole) in &seat.whole {
            if at < len && len < at + piece && *is_whole {
                len = at + piece;
            }
            at += piece;
        }
        if len == 0 {
            return Ok(());
        }
        let mut left = len;
        while let Some((piece, _)) = seat.whole.front_mut() {
            let used = left.min(*piece);
            *piece -= used;
            left -= used;
            if *piece > 0 {
                break;
            }
            seat.whole.pop_front();
        }
        let bytes: Vec<u8> = seat.written.drain(..len).collect();
        let conn = seat.conn;
        if !place.model.wants_read(conn) && place.model.conns.contains_key(&conn) {
            self.tally.read_while_paused += 1;
        }
        if self.is_shown {
            println!("{conn:?} gets {} bytes", bytes.len());
        }
        place.hub.handle_bytes(conn, &bytes, now);
        place.model.advance(now.as_nanos());
        place.model.bytes(conn, len);
        if self.is_shown {
            let counted = place.model.conns.get(&conn).map(|conn| (conn.waiting_messages(), conn.counted_bytes()));
            println!("{:?}, {counted:?}", place.hub.connection(conn).map(|hub| (hub.inbound_bytes, hub.inbound)));
        }
        place.compare_numbers()
    }
}

/// Header bytes of a client's frame of so many bytes (RFC 6455 §5.2).
const fn head_of(len: usize) -> usize {
    match len {
        0..=131 => 6,
        132..=65_543 => 8,
        _ => 14,
    }
}

pub(super) fn small(number: u64) -> usize {
    usize::try_from(number.min(1 << 24)).expect("small")
}
