//! The administration listener: `/metrics`, `/stats`, `/healthz`.

mod http;
mod metrics;
mod stats;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;

use crate::serving::Handle;
use http::{Response, Status};

/// How long a document waits for the server.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// What `/` says.
const INDEX: &str = "\
/metrics          for Prometheus (OpenMetrics text)
/stats?lanes=N    everything as JSON, with at most N lanes (1000)
/healthz          200 while the server answers
";

/// Listens on `listen` and answers there for as long as the process lives.
///
/// # Errors
/// The address cannot be had.
pub(crate) fn start(listen: &str, handle: Handle) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen)?;
    let address = listener.local_addr()?;
    let registry = metrics::registry(&handle);
    let documents: Arc<http::Documents> =
        Arc::new(move |path: &str, query: &str| document(&handle, &registry, path, query));
    http::serve(listener, &documents)?;
    Ok(address)
}

fn document(handle: &Handle, registry: &Registry, path: &str, query: &str) -> Response {
    match path {
        "/" => Response::text(Status::Ok, INDEX),
        "/metrics" => match metrics::page(registry) {
            Ok(body) => Response { status: Status::Ok, content_type: metrics::CONTENT_TYPE, body },
            Err(error) => Response::text(Status::Unavailable, format!("{error}\n")),
        },
        "/stats" => stats(handle, query),
        "/healthz" => match handle.snapshot_timeout(0, WAIT_MAX) {
            Some(_) => Response::text(Status::Ok, "ok\n"),
            None => silent(),
        },
        _ => Response::text(Status::NotFound, format!("there are\n{INDEX}")),
    }
}

fn stats(handle: &Handle, query: &str) -> Response {
    let lanes_max = match stats::lanes_max(query) {
        Ok(lanes_max) => lanes_max,
        Err(problem) => return Response::text(Status::BadRequest, problem),
    };
    let Some(snapshot) = handle.snapshot_timeout(lanes_max, WAIT_MAX) else { return silent() };
    match stats::json(&snapshot) {
        Ok(body) => Response { status: Status::Ok, content_type: "application/json", body },
        Err(error) => Response::text(Status::Unavailable, format!("{error}\n")),
    }
}

fn silent() -> Response {
    Response::text(Status::Unavailable, "the server does not answer, or has stopped\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Binding;
    use crate::serving::Serving;

    #[test]
    fn a_server_that_does_not_answer_is_not_well() {
        for binding in [Binding::Threads, Binding::Smol] {
            // It is not run.
            let Serving { handle, run, .. } = Serving::bind(binding, "127.0.0.1:0", Default::default()).unwrap();
            let registry = metrics::registry(&handle);
            let status = |path: &str| document(&handle, &registry, path, "").status;
            assert_eq!([status("/healthz"), status("/stats")], [Status::Unavailable; 2]);
            assert_eq!(status("/metrics"), Status::Ok, "its last numbers");
            drop(run);
            assert_eq!([status("/healthz"), status("/stats")], [Status::Unavailable; 2]);
        }
    }
}
