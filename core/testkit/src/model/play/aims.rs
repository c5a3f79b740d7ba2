//! What is missing in rare situations until it shows whether they are handled as they must be.

use forebay_core::ConnId;

use super::{Op, Side};

impl Side {
    fn seat_where(&self, is_it: impl Fn(Option<ConnId>) -> bool) -> Option<u64> {
        let place = self.seats.iter().position(|seat| is_it(seat.as_ref().map(|seat| seat.conn)));
        place.map(|place| place as u64)
    }

    /// A message was sent in part before its session was kept: until the connection ends amid the rest, and more.
    pub(crate) fn towards_lost_beginning(&self) -> Option<(Op, [u64; 3])> {
        let next = |conn: Option<ConnId>| self.model.towards_lost_beginning(conn?);
        let seat = self.seat_where(|conn| next(conn).is_some())?;
        let op = next(self.conn_of(seat))?;
        Some((op, if op == Op::Poll { [0, 8, 0] } else { [seat, 0, 0] }))
    }

    /// A session of which a lane rejected the newest of what its topic keeps: until it is resumed from behind that.
    pub(crate) fn towards_rejected(&self) -> Option<(Op, [u64; 3])> {
        let (key, back) = self.model.behind_rejected()?;
        let session = &self.model.sessions[&key];
        let token = self.model.tokens.iter().rev().position(|(_, of)| *of == key);
        let Some(token) = token.filter(|_| session.ttl.is_some()) else {
            let seat = self.seat_where(|conn| conn.is_some() && conn == session.conn)?;
            return Some((Op::Keep, [seat, 0, 0]));
        };
        if let Some(seat) = self.seat_where(|conn| conn.is_some_and(|conn| self.model.may_take(conn, key))) {
            // One of sixteen is of another epoch.
            let back = back + u64::from(back % 16 == 15);
            return Some((Op::Resume, [seat, token as u64, back + 1]));
        }
        let seat = self.seat_where(|conn| conn.is_none())?;
        Some((Op::Accept, [seat, u64::from(session.is_raw), 1]))
    }
}
