//! Hub B as a client of hub A.

use std::collections::VecDeque;

use forebay_core::{ClientRequest, Mode, Peer};

use super::super::{Line, Speaker, World, draw};

impl World {
    pub(super) fn hub_connects(&mut self) {
        let clients =
            self.sides[1].lines.values().filter(|line| matches!(line.speaker, Speaker::Client { .. })).count();
        if clients > 1 {
            return;
        }
        let peer = Peer { mode: Mode::Dialect, ..Peer::default() };
        let Ok(server) = self.sides[0].hub.handle_accept(peer, self.now) else { return };
        self.summary.accepted += 1;
        let (forth, back) = (self.pipe(), self.pipe());
        self.sides[0].lines.insert(server, Line::new(forth, back, Speaker::Dialect));
        let request = ClientRequest {
            host: "a.example",
            target: "/feed?x=1",
            origin: None,
            protocols: &["forebay.v1"],
            headers: &[("X-World", "yes")],
        };
        let Ok(client) = self.sides[1].hub.connect(request, self.now) else {
            // Nobody dials: the server sees the end.
            self.pipes.get_mut(&forth).expect("a pipe").finish(self.now);
            return;
        };
        self.summary.accepted += 1;
        let speaker = Speaker::Client { server, reader: Box::default(), outbox: VecDeque::new() };
        self.sides[1].lines.insert(client, Line::new(back, forth, speaker));
    }

    pub(super) fn client_hub_speaks(&mut self) {
        let topic = self.topic_name();
        let what = self.choices.below(5);
        let (data, key) = (self.data(0, topic), self.key(0));
        let wish = draw::wish(draw::lane(&mut self.choices, None));
        let lines = self.sides[1].lines.values_mut();
        for line in lines {
            let Speaker::Client { reader, outbox, .. } = &mut line.speaker else { continue };
            if outbox.len() > 8 {
                continue;
            }
            outbox.push_back(match what {
                0..=2 => reader.subscribe_as(topic, wish, true),
                3 => reader.ping(true),
                _ => {
                    let tag = self.truth.tried(0, topic, &key, &data);
                    let text = reader.publish_keyed(topic, &key, &data, tag, true, "");
                    outbox.push_back(text);
                    return;
                }
            });
        }
    }
}
