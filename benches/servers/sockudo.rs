//! sockudo-ws as its documentation shows it: `PubSub`, which has a channel without a bound for each subscriber. `sockudo PORT`

use futures_util::{SinkExt, StreamExt};
use sockudo_ws::pubsub::PubSub;
use sockudo_ws::{Config, WebSocketStream, handshake};
use std::sync::Arc;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

const TOPIC: &str = "t";
type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let port = std::env::args().nth(1).ok_or("needs: PORT")?.parse::<u16>()?;
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    let (listener, topics) = (socket.listen(4096)?, Arc::new(PubSub::new()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let topics = Arc::clone(&topics);
        // A connection that fails has ended: nobody is told.
        tokio::spawn(async move { serve(stream, &topics).await.unwrap_or_default() });
    }
}

async fn serve(mut stream: TcpStream, topics: &PubSub) -> Result<(), sockudo_ws::Error> {
    handshake::server_handshake(&mut stream).await?;
    let mut socket = WebSocketStream::server(stream, Config::default());
    loop {
        let Some(message) = socket.next().await.transpose()? else { return Ok(()) };
        match message.as_bytes() {
            [b'S', b'U', b'B', b' ', ..] => break,
            [b'P', ..] => drop(topics.publish(TOPIC, message)),
            _ => socket.send(message).await?,
        }
    }
    let (sender, mut messages) = mpsc::unbounded_channel();
    let subscriber = topics.create_subscriber(sender);
    topics.subscribe(subscriber, TOPIC);
    let ended = async {
        loop {
            tokio::select! {
                input = socket.next() => if input.transpose()?.is_none() { return Ok(()) },
                Some(message) = messages.recv() => {
                    socket.feed(message).await?;
                    // One flush for all that waits.
                    while let Ok(message) = messages.try_recv() {
                        socket.feed(message).await?;
                    }
                    socket.flush().await?;
                }
            }
        }
    }
    .await;
    topics.remove_subscriber(subscriber);
    ended
}
