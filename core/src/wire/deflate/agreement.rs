//! What both sides agree to (RFC 7692 §7.1).

use core::fmt;
use core::num::NonZeroU8;

use super::WindowBits;
use crate::wire::Role;

/// What one side may do when it compresses. It is a right: it may as well refer to less, or send what is not compressed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Direction(NonZeroU8);

impl Direction {
    const BITS: u8 = 0x0f;
    const TAKES_OVER: u8 = 0x10;

    /// With a window of `window_bits`, and whether messages may refer to those before them.
    #[must_use]
    pub const fn new(window_bits: WindowBits, takes_over: bool) -> Self {
        Self::of(window_bits.get(), takes_over)
    }

    pub(super) const fn of(bits: u8, takes_over: bool) -> Self {
        debug_assert!(bits >= 8 && bits <= 15);
        let flag = if takes_over { Self::TAKES_OVER } else { 0 };
        Self(NonZeroU8::new(bits | flag).expect("at least 8"))
    }

    /// How far back it may refer: 2^8 to 2^15 bytes.
    #[must_use]
    pub const fn window_bits(self) -> u8 {
        self.0.get() & Self::BITS
    }

    /// Whether messages may refer to those before them (context takeover).
    #[must_use]
    pub const fn takes_over(self) -> bool {
        self.0.get() & Self::TAKES_OVER != 0
    }

    /// The largest window to compress with; `None` for 2^8 bytes, with which no zlib does: such a side sends what is not
    /// compressed.
    #[must_use]
    pub const fn compressor(self) -> Option<WindowBits> {
        WindowBits::new(self.window_bits())
    }

    /// The window of a [`Context`](super::Context) for what is received; `None`: nothing is taken over. (zlib takes 2^9 where
    /// it is told 2^8.)
    #[must_use]
    pub const fn context(self) -> Option<WindowBits> {
        match WindowBits::new(self.window_bits()) {
            _ if !self.takes_over() => None,
            Some(bits) => Some(bits),
            None => Some(WindowBits::MIN),
        }
    }

    /// The same, but no message refers to those before it.
    #[must_use]
    pub const fn alone(self) -> Self {
        Self::of(self.window_bits(), false)
    }
}

impl fmt::Debug for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direction")
            .field("window_bits", &self.window_bits())
            .field("takes_over", &self.takes_over())
            .finish()
    }
}

/// What two sides agreed to; or what one would agree to at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Agreed {
    /// What the server sends.
    pub server: Direction,
    /// What the client sends.
    pub client: Direction,
}

impl Agreed {
    /// What the side in `role` sends.
    #[must_use]
    pub const fn sent_by(self, role: Role) -> Direction {
        match role {
            Role::Server => self.server,
            Role::Client => self.client,
        }
    }

    /// What the side in `role` receives.
    #[must_use]
    pub const fn received_by(self, role: Role) -> Direction {
        match role {
            Role::Server => self.client,
            Role::Client => self.server,
        }
    }
}

/// A server's answer to an offer, as it is written into `Sec-WebSocket-Extensions`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What is agreed with it. A server may still have either direction go without takeover, whatever was offered (§7.1.1).
    pub agreed: Agreed,
    /// The offer named the server's window, so the answer does (§7.1.2.1).
    pub(super) names_server_window: bool,
}

/// The extension's name and parameters.
pub(super) const NAME: &str = "permessage-deflate";
pub(super) const SERVER_ALONE: &str = "server_no_context_takeover";
pub(super) const CLIENT_ALONE: &str = "client_no_context_takeover";
pub(super) const SERVER_BITS: &str = "server_max_window_bits";
pub(super) const CLIENT_BITS: &str = "client_max_window_bits";

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Agreed { server, client } = self.agreed;
        put_alone(f, self.agreed)?;
        if self.names_server_window || server.window_bits() < 15 {
            write!(f, "; {SERVER_BITS}={}", server.window_bits())?;
        }
        // Only where it was offered has the client less than all (§7.1.2.2).
        if client.window_bits() < 15 {
            write!(f, "; {CLIENT_BITS}={}", client.window_bits())?;
        }
        Ok(())
    }
}

/// What a client offers, as it is written into `Sec-WebSocket-Extensions`: that it would agree to this at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer(pub Agreed);

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Agreed { server, client } = self.0;
        put_alone(f, self.0)?;
        if server.window_bits() < 15 {
            write!(f, "; {SERVER_BITS}={}", server.window_bits())?;
        }
        match client.window_bits() {
            15 => write!(f, "; {CLIENT_BITS}"),
            bits => write!(f, "; {CLIENT_BITS}={bits}"),
        }
    }
}

fn put_alone(f: &mut fmt::Formatter<'_>, agreed: Agreed) -> fmt::Result {
    f.write_str(NAME)?;
    for (direction, name) in [(agreed.server, SERVER_ALONE), (agreed.client, CLIENT_ALONE)] {
        if !direction.takes_over() {
            write!(f, "; {name}")?;
        }
    }
    Ok(())
}
