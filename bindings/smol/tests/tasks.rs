//! What only tasks do: share a thread, and give up.
#![forbid(unsafe_code)]

use std::time::Duration;

use forebay_smol::{
    CallError, Client, ClientOptions, CloseCode, EndReason, Entry, LaneLimits, LaneOptions, Options, Payload, Policy,
    PublishError, Server, ServerOptions, TopicOptions,
};
use smol::future::{self, FutureExt};
use smol::stream::StreamExt;
use smol::{LocalExecutor, Timer};

/// Nothing takes so long; a test that hangs is ended by it.
const HANG: Duration = Duration::from_secs(60);

fn bounded<T>(test: impl Future<Output = T>) -> T {
    smol::block_on(test.or(async {
        Timer::after(HANG).await;
        panic!("it hangs")
    }))
}

fn blocking(messages_max: u32) -> ServerOptions {
    let lane = LaneLimits { messages_max, bytes_max: 1 << 20 };
    let topic = TopicOptions { policy: Policy::Block, lane, ..TopicOptions::default() };
    ServerOptions { topics: vec![("t".to_owned(), topic)], ..ServerOptions::default() }
}

#[test]
fn everything_can_be_spawned() {
    fn can_be_sent<T: Send>(value: T) -> T {
        value
    }
    bounded(async {
        let server = can_be_sent(Server::bind("127.0.0.1:0", ServerOptions::default())).await.unwrap();
        let (url, handle) = (format!("ws://{}/", server.local_addr().unwrap()), server.handle());
        let running = smol::spawn(server.run_with(|_, _, _| {}));
        let client = can_be_sent(Client::connect(&url, ClientOptions::default())).await.unwrap();
        can_be_sent(client.receive()).await.unwrap();
        can_be_sent(client.send(Payload::Text("{}"))).await.unwrap();
        can_be_sent(handle.publish_wait("t", Payload::Text("0"), HANG)).await.unwrap();
        let mut subscription = can_be_sent(handle.subscribe("t", LaneOptions::default())).await.unwrap();
        assert!(can_be_sent(subscription.next_timeout(Duration::from_millis(1))).await.is_err());
        handle.shutdown();
        running.await.unwrap();
    });
}

/// A mailbox for one command, on one thread: whoever blocked it would block the server with it.
#[test]
fn a_thread_is_enough_for_a_server_that_is_never_idle_and_everybody_else() {
    const COUNT: u64 = 1_000;
    let executor = LocalExecutor::new();
    bounded(executor.run(async {
        let options = ServerOptions { mailbox_max: 1, ..blocking(10) };
        let server = Server::bind("127.0.0.1:0", options).await.unwrap();
        let handle = server.handle();
        let running = executor.spawn(server.run());
        let mut subscription = handle.subscribe("t", LaneOptions::default()).await.unwrap();
        let publishers: Vec<_> = (0..4)
            .map(|_| {
                let handle = handle.clone();
                executor.spawn(async move {
                    for _ in 0..COUNT / 4 {
                        handle.publish_wait("t", Payload::Text("0"), HANG).await.unwrap();
                    }
                })
            })
            .collect();
        for expected in 1..=COUNT {
            match subscription.next().await {
                Some(Entry::Message { seq, .. }) => assert_eq!(seq, expected),
                other => panic!("nothing is lost: {other:?}"),
            }
        }
        for publisher in publishers {
            publisher.await;
        }
        handle.shutdown();
        running.await.unwrap();
        assert_eq!(subscription.next().await, None);
    }));
}

/// Nobody answers a scrape that keeps the thread of those who could.
#[test]
#[cfg(feature = "metrics")]
fn a_scrape_on_the_thread_of_the_server_shows_what_was_seen_before() {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    let executor = LocalExecutor::new();
    bounded(executor.run(async {
        let server = Server::unbound(blocking(10)).unwrap();
        let handle = server.handle();
        let running = executor.spawn(server.run());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(handle.collector()));
        let scrape = move || {
            let mut page = String::new();
            text::encode(&mut page, &registry).unwrap();
            page
        };
        handle.publish("t", Payload::Text("0")).await.unwrap();
        assert!(scrape().contains("\nforebay_published_messages_total 0\n"));
        let page = smol::unblock(scrape).await;
        assert!(page.contains("\nforebay_published_messages_total 1\n"), "{page}");
        handle.shutdown();
        running.await.unwrap();
    }));
}

#[test]
fn a_dropped_server_is_told_to_everybody() {
    bounded(async {
        let server = Server::bind("127.0.0.1:0", blocking(1)).await.unwrap();
        let (url, handle) = (format!("ws://{}/", server.local_addr().unwrap()), server.handle());
        let running = smol::spawn(server.run());
        let mut subscription = handle.subscribe("t", LaneOptions::default()).await.unwrap();
        let client = Client::connect(&url, ClientOptions::default()).await.unwrap();
        client.receive().await.unwrap();
        handle.publish("t", Payload::Text("0")).await.unwrap();
        let waiting = smol::spawn({
            let handle = handle.clone();
            async move { handle.publish_wait("t", Payload::Text("1"), HANG).await }
        });
        while handle.stats().await.refused_full == 0 {
            future::yield_now().await;
        }
        running.cancel().await;
        assert_eq!(client.receive().await.unwrap_err().reason, EndReason::PeerGone);
        assert_eq!(waiting.await, Err(CallError::Stopped));
        assert_eq!(handle.publish("t", Payload::Text("2")).await, Err(CallError::Stopped));
        assert_eq!(subscription.next().await, None);
        assert_eq!(handle.stats().await.published.messages, 1, "the last numbers stay");
    });
}

#[test]
fn who_gives_up_has_done_nothing() {
    bounded(async {
        let server = Server::bind("127.0.0.1:0", blocking(1)).await.unwrap();
        let handle = server.handle();
        let running = smol::spawn(server.run());
        let mut subscription = handle.subscribe("t", LaneOptions::default()).await.unwrap();
        handle.publish("t", Payload::Text("0")).await.unwrap();
        let full = Err(CallError::Refused(PublishError::Full));
        for _ in 0..10 {
            let given_up = handle.publish_wait("t", Payload::Text("1"), HANG).or(async {
                Timer::after(Duration::from_millis(1)).await;
                full
            });
            assert_eq!(given_up.await, full);
        }
        assert!(matches!(subscription.next().await, Some(Entry::Message { seq: 1, .. })));
        let published = handle.publish_wait("t", Payload::Text("2"), HANG).await.unwrap();
        assert_eq!(published.position.seq, 2, "what was given up was not published");
        drop(subscription);
        handle.shutdown();
        running.await.unwrap();
    });
}

#[test]
fn a_send_that_was_given_up_is_not_sent() {
    const COUNT: u64 = 1_000;
    bounded(async {
        let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
        let (url, handle) = (format!("ws://{}/", server.local_addr().unwrap()), server.handle());
        let running = smol::spawn(server.run());
        let lane = LaneLimits { messages_max: 2, bytes_max: 1 << 20 };
        let hub = Options { direct_lane: lane, ..Options::default() };
        let client = Client::connect(&url, ClientOptions { hub, ..ClientOptions::default() }).await.unwrap();
        let mut given_up = 0;
        for _ in 0..COUNT {
            // Given up where it has to wait, and then in earnest.
            let request = Payload::Text(r#"{"op":"publish","topic":"t","data":0}"#);
            match future::poll_once(client.send(request)).await {
                Some(sent) => sent.unwrap(),
                None => {
                    given_up += 1;
                    client.send(request).await.unwrap();
                }
            }
        }
        assert!(given_up > 0, "two messages fit, and the worker has to be woken for more");
        assert_eq!(client.close(CloseCode::NORMAL, "").await.unsent_messages, 0);
        assert_eq!(handle.stats().await.published.messages, COUNT);
        handle.shutdown();
        running.await.unwrap();
    });
}

/// The worker has answered, and nobody is left to take the answer.
#[test]
fn a_subscription_that_was_given_up_leaves_no_lane() {
    let executor = LocalExecutor::new();
    bounded(executor.run(async {
        let server = Server::unbound(blocking(1)).unwrap();
        let handle = server.handle();
        let running = executor.spawn(server.run());
        let mut subscribing = Box::pin(handle.subscribe("t", LaneOptions::default()));
        assert!(future::poll_once(&mut subscribing).await.is_none(), "the server has yet to run");
        assert_eq!(handle.stats().await.lanes_now, 1, "it is carried out");
        drop(subscribing);
        for _ in 0..2 {
            assert_eq!(handle.publish("t", Payload::Text("0")).await.map(|published| published.matched), Ok(0));
        }
        handle.shutdown();
        running.await.unwrap();
    }));
}

/// Between two turns a topic brakes its sources and no more: a hub tells nothing of that.
#[test]
fn a_source_is_ready_though_nobody_was_told_that_it_had_to_wait() {
    let executor = LocalExecutor::new();
    bounded(executor.run(async {
        let server = Server::unbound(blocking(1)).unwrap();
        let handle = server.handle();
        let running = executor.spawn(server.run());
        let subscription = handle.subscribe("t", LaneOptions::default()).await.unwrap();
        let mut publishing = Box::pin(handle.publish("t", Payload::Text("0")));
        let mut ready = Box::pin(handle.ready("t", HANG));
        assert!(future::poll_once(&mut publishing).await.is_none());
        assert!(future::poll_once(&mut ready).await.is_none(), "it is behind the publish");
        drop(subscription);
        assert_eq!(publishing.await.map(|published| published.matched), Ok(1));
        assert_eq!(ready.await, Ok(()));
        handle.shutdown();
        running.await.unwrap();
    }));
}
