//! tokio-tungstenite behind tokio's broadcast channel, which keeps 1,024 messages for all together. `tungstenite PORT`

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::broadcast::{self, Sender, error::RecvError};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::{Error, Message};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let port = std::env::args().nth(1).ok_or("needs: PORT")?.parse::<u16>()?;
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    let (listener, topic) = (socket.listen(4096)?, Sender::new(1024));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let topic = topic.clone();
        // A connection that fails has ended: nobody is told.
        tokio::spawn(async move { serve(stream, &topic).await.unwrap_or_default() });
    }
}

async fn serve(stream: TcpStream, topic: &Sender<Message>) -> Result<(), Error> {
    let mut socket = accept_async(stream).await?;
    loop {
        let Some(message) = socket.next().await.transpose()? else { return Ok(()) };
        match message.to_text().unwrap_or_default().as_bytes() {
            [b'S', b'U', b'B', b' ', ..] => break,
            [b'P', ..] => drop(topic.send(message)),
            _ if message.is_text() || message.is_binary() => socket.send(message).await?,
            _ => {}
        }
    }
    let mut messages: broadcast::Receiver<_> = topic.subscribe();
    loop {
        tokio::select! {
            input = socket.next() => if input.transpose()?.is_none() { return Ok(()) },
            message = messages.recv() => match message {
                Ok(message) => {
                    socket.feed(message).await?;
                    // One flush for all that waits.
                    while let Ok(message) = messages.try_recv() {
                        socket.feed(message).await?;
                    }
                    socket.flush().await?;
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}
