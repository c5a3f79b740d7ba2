//! The examples' pages, in a browser.

use std::path::Path;
use std::process::Stdio;

use forebay_examples::{Server, node, program};

/// What a script gives that runs in the page of an example; `None` where there is no browser.
fn run(example: &str, script: &str) -> Option<String> {
    let chromium = program(&["chromium", "chromium-browser", "google-chrome"])?;
    let mut browser = node("pages.mjs")?;
    let server = Server::start(example, &[]);
    // One of its own for each test.
    let test = std::thread::current().name().unwrap_or("main").to_owned();
    let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pages-{test}"));
    browser.arg(chromium).arg(profile).args([format!("http://{}/", server.address), script.to_owned()]);
    let output = browser.stdin(Stdio::null()).output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("a text"))
}

fn chat(example: &str) {
    let script = r#"(async () => {
        const shown = async text => { while (!log.innerText.includes(text)) await new Promise(done => setTimeout(done, 10)) }
        const say = line => { form.elements.text.value = line; form.requestSubmit() }
        while (ws.readyState != 1) await new Promise(done => setTimeout(done, 10))
        form.elements.name.value = "ann"
        say("hello")
        await shown("ann: hello")
        say("/who")
        await shown("bot: ann spoke, 1 listen")
        room.value = "garden"
        room.onchange()
        say("/count")
        await shown("bot: 1 messages")
        return log.innerText.trim()
    })()"#;
    if let Some(shown) = run(example, script) {
        let lines = ["-- lobby", "ann: hello", "ann: /who", "bot: ann spoke, 1 listen", "-- garden", "ann: /count"];
        assert_eq!(shown, [&lines[..], &["bot: 1 messages"]].concat().join("\n"));
    }
}

#[test]
fn chat_threads() {
    chat("chat_threads");
}

#[test]
fn chat_smol() {
    chat("chat_smol");
}

#[test]
fn a_page_from_elsewhere_is_turned_away() {
    // The same server under another name is another host.
    let script = r#"(async () => {
        const attempt = url => new Promise(done => {
            const other = new WebSocket(url)
            other.onopen = () => done("open")
            other.onerror = () => done("refused")
        })
        const own = location.href.replace("http", "ws")
        const foreign = own.replace("127.0.0.1", "localhost")
        return [await attempt(own), await attempt(foreign), await attempt(own)].join()
    })()"#;
    if let Some(shown) = run("chat_threads", script) {
        assert_eq!(shown, "open,refused,open");
    }
}

#[test]
fn embedded_in_http() {
    let script = r#"(async () => {
        while (ws.readyState != 1) await new Promise(done => setTimeout(done, 10))
        const before = visits.innerText
        while (visits.innerText == before) {
            await fetch("/") // Again, for it may have come before the subscription.
            await new Promise(done => setTimeout(done, 10))
        }
        return before == "?" && Number(visits.innerText) > 1
    })()"#;
    if let Some(shown) = run("embedded_in_http", script) {
        assert_eq!(shown, "true");
    }
}
