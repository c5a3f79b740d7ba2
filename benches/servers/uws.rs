//! uWebSockets. Above 64 KiB that wait for a subscriber it drops what comes, and says nothing. `uws PORT`

use uwebsockets_rs::app::App;
use uwebsockets_rs::us_socket_context_options::UsSocketContextOptions;
use uwebsockets_rs::websocket::{Opcode, WebSocketStruct};
use uwebsockets_rs::websocket_behavior::{CompressOptions, WebSocketBehavior};

fn main() {
    let port = std::env::args().nth(1).expect("needs: PORT").parse().expect("a port is a number");
    let behavior = WebSocketBehavior {
        compression: CompressOptions::Disabled.into(),
        max_payload_length: 16 << 20,
        idle_timeout: 0,
        max_backpressure: 64 << 10,
        close_on_backpressure_limit: false,
        reset_idle_timeout_on_send: false,
        send_pings_automatically: false,
        max_lifetime: 0,
        upgrade: None,
        open: None,
        message: Some(Box::new(message)),
        ping: None,
        pong: None,
        close: None,
        drain: None,
        subscription: None,
    };
    let options = UsSocketContextOptions {
        key_file_name: None,
        cert_file_name: None,
        passphrase: None,
        dh_params_file_name: None,
        ca_file_name: None,
        ssl_ciphers: None,
        ssl_prefer_low_memory_usage: None,
    };
    App::new(options).ws("/*", behavior).listen(port, Some(|_| ())).run();
}

fn message(socket: WebSocketStruct<false>, message: &[u8], opcode: Opcode) {
    if message.starts_with(b"SUB ") {
        socket.subscribe("t");
    } else if message.starts_with(b"P") {
        // Only who is subscribed to something may publish.
        socket.subscribe("publishers");
        socket.publish_with_options("t", message, opcode, false);
    } else {
        socket.send(message, opcode);
    }
}
