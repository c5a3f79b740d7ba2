//! `forebay serve`.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use crate::cli::ServeArguments;
use crate::config::{OFF, Settings};
use crate::requests::{quoted, subscribe_without_id};
use crate::serving::Serving;
use crate::{Failure, admin, logger, signals, tell};

/// Runs the command.
pub(crate) fn run(arguments: &ServeArguments) -> Result<ExitCode, Failure> {
    let mut settings = settings(arguments)?;
    if arguments.check {
        let name = arguments.config.as_ref().map_or("the built-in configuration".into(), |file| file.to_string_lossy());
        // Whoever closed standard output has the exit status.
        let _ = writeln!(io::stdout(), "{name}: good; {} topics declared", settings.server.topics.len());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(listen) = &arguments.listen {
        settings.listen.clone_from(listen);
    }
    if let Some(listen) = &arguments.admin_listen {
        settings.admin_listen.clone_from(listen);
    }
    logger::start(&arguments.log);
    let topic = settings.server.topics.first().map_or("log".to_owned(), |(name, _)| name.clone());
    let drain_timeout = settings.server.drain_timeout;
    let Serving { address, handle, run } = Serving::bind(arguments.binding, &settings.listen, settings.server)
        .map_err(|error| Failure::runtime(cannot_listen(&settings.listen, "--listen", &error)))?;
    let admin = match settings.admin_listen.as_str() {
        OFF => None,
        listen => Some(
            admin::start(listen, handle.clone())
                .map_err(|error| Failure::runtime(cannot_listen(listen, "--admin-listen", &error)))?,
        ),
    };
    signals::on_first(move |signal| {
        tell(format_args!("{signal}: draining, for at most {drain_timeout:?}; a second signal exits at once"));
        handle.shutdown();
    })
    .map_err(|error| Failure::runtime(format!("cannot handle signals: {error}")))?;
    // Written and flushed as a whole; a closed standard output does not stop a server.
    let mut output = io::stdout().lock();
    let _ = output.write_all(welcome(address, admin, &topic, &program()).as_bytes()).and_then(|()| output.flush());
    drop(output);
    run().map_err(|error| Failure::runtime(format!("the server stopped: {error}")))?;
    tell("stopped");
    Ok(ExitCode::SUCCESS)
}

fn settings(arguments: &ServeArguments) -> Result<Settings, Failure> {
    let Some(file) = &arguments.config else { return Ok(Settings::default()) };
    let name = file.to_string_lossy();
    let source =
        std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    Settings::parse(&name, &source).map_err(|bad| Failure::usage(bad.to_string()))
}

/// Why there is no listener, and how to have another one.
pub(crate) fn cannot_listen(listen: &str, flag: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot listen on {listen}: the address is in use, perhaps by another forebay; choose another one with \
             {flag}, such as {flag} 127.0.0.1:0 for any free port"
        ),
        io::ErrorKind::PermissionDenied => format!("cannot listen on {listen}: ports below 1024 need privileges"),
        io::ErrorKind::AddrNotAvailable => format!("cannot listen on {listen}: no such address on this machine"),
        _ => format!("cannot listen on {listen}: {error}"),
    }
}

/// How this program was called, if a shell would understand it as it is.
pub(crate) fn program() -> String {
    let name = std::env::args().next().unwrap_or_default();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:".contains(letter);
    if !name.is_empty() && name.chars().all(is_plain) { name } else { "forebay".to_owned() }
}

/// Where the server is, and what to try next.
fn welcome(address: SocketAddr, admin: Option<SocketAddr>, topic: &str, program: &str) -> String {
    let url = format!("ws://{}", reachable(address));
    let page = url.replacen("ws", "http", 1);
    let admin = admin.map(|admin| format!("Administration: http://{}/\n", reachable(admin))).unwrap_or_default();
    let everywhere = if address.ip().is_unspecified() { " (and on every other address of this machine)" } else { "" };
    let argument = if url == "ws://127.0.0.1:8080" { String::new() } else { format!(" {url}") };
    let shell_topic = in_shell(topic);
    // JSON strings are JavaScript strings.
    let request = quoted(&subscribe_without_id(topic));
    format!(
        "forebay {version} serves {url}{everywhere}\n{admin}\n\
         Try next, each in a terminal of its own:\n\
         \x20 {program} subscribe --topic {shell_topic}{argument}\n\
         \x20 tail -f access.log | {program} publish --topic {shell_topic}{argument}\n\
         or in the console of a browser that shows {page} (pages from elsewhere need [server] origins):\n\
         \x20 s = new WebSocket(\"{url}\"); s.onopen = () => s.send({request}); s.onmessage = e => console.log(e.data)\n\n",
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// An address that can be connected to from this machine.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Quotes for a shell, where it needs quotes.
fn in_shell(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@".contains(letter);
    if text.chars().all(is_plain) && !text.starts_with('-') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_welcome_can_be_pasted() {
        let text = welcome("127.0.0.1:8080".parse().unwrap(), None, "log", "forebay");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            text,
            format!(
                "forebay {version} serves ws://127.0.0.1:8080

Try next, each in a terminal of its own:
  forebay subscribe --topic log
  tail -f access.log | forebay publish --topic log
or in the console of a browser that shows http://127.0.0.1:8080 (pages from elsewhere need [server] origins):
  s = new WebSocket(\"ws://127.0.0.1:8080\"); s.onopen = () => s.send(\"{{\\\"op\\\":\\\"subscribe\\\",\\\"topic\\\":\\\"log\\\"}}\"); \
                 s.onmessage = e => console.log(e.data)

"
            )
        );
    }

    #[test]
    fn other_addresses_and_topics() {
        let text = welcome("0.0.0.0:9000".parse().unwrap(), None, "it's", "forebay");
        assert!(text.contains("serves ws://127.0.0.1:9000 (and on every other address of this machine)\n"), "{text}");
        assert!(text.contains(r"  forebay subscribe --topic 'it'\''s' ws://127.0.0.1:9000"), "{text}");
        let text = welcome("[::]:1".parse().unwrap(), Some("0.0.0.0:2".parse().unwrap()), "t", "f");
        assert!(text.contains("ws://[::1]:1 (and"), "{text}");
        assert!(text.contains("\nAdministration: http://127.0.0.1:2/\n"), "{text}");
        let text = welcome("10.1.2.3:80".parse().unwrap(), None, "t", "f");
        assert!(text.contains("f subscribe --topic t ws://10.1.2.3:80\n"));
    }

    #[test]
    fn a_port_in_use_is_one_line() {
        let text = cannot_listen("127.0.0.1:1", "--listen", &io::Error::from(io::ErrorKind::AddrInUse));
        assert!(text.starts_with("cannot listen on 127.0.0.1:1: the address is in use"));
        assert_eq!(text.lines().count(), 1);
    }
}
