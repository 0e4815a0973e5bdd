//! The pages for probes and monitoring: /healthz, /readyz and /metrics.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::get;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use pangea_wire::Pool;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::clock;
use crate::descriptors::PAGES;
use crate::places::{Allowance, Place, Places};
use crate::pulse::Pulse;
use crate::secure::Secure;
use crate::telemetry::measure_memory;

/// How long a request's header may take, and then the rest of the exchange.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const PAGE_TIMEOUT: Duration = Duration::from_secs(15);
/// Most bytes of a request's header, which hyper reads at once. Its least is 8 KiB.
const HEADER_BYTES: usize = 16 << 10;
/// How long to wait after the system failed to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// `ready` says whether workers are served now, `pulse` whether the compute threads work; `pool` is
/// the memory of requests and replies.
pub fn pages(
    ready: Arc<AtomicBool>,
    pulse: Pulse,
    pool: Pool,
    metrics: PrometheusHandle,
) -> Router {
    let health = move || async move {
        if pulse.is_alive() {
            (StatusCode::OK, "ok\n")
        } else {
            let reason = "the compute threads have done nothing for long\n";
            (StatusCode::SERVICE_UNAVAILABLE, reason)
        }
    };
    let readiness = move || async move {
        if ready.load(Ordering::Relaxed) {
            (StatusCode::OK, "ok\n")
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the dataset is being read, or the service is stopping\n",
            )
        }
    };
    let metrics_page = move || async move {
        measure_memory(&pool);
        metrics.render()
    };
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics_page))
}

/// Serves pages for as long as the process lives. When all places are taken, the oldest connection
/// makes room: a request takes a millisecond. With `secure`, pages are encrypted.
pub async fn serve_pages(
    listener: TcpListener,
    router: Router,
    secure: Option<Arc<Secure>>,
) -> Infallible {
    let places = Places::new(Allowance {
        places: PAGES,
        // A probe comes from another address than whoever opens many.
        per_address: PAGES / 2,
        recent: Duration::ZERO,
    });
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                if let Some(place) = places.take(Some(address.ip()), clock::monotonic()) {
                    tokio::spawn(serve_page(stream, router.clone(), secure.clone(), place));
                }
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection to the pages");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_page(stream: TcpStream, router: Router, secure: Option<Arc<Secure>>, place: Place) {
    let exchange = async {
        match secure {
            None => converse(stream, router).await,
            Some(secure) => {
                // Without a handshake there is nobody to tell.
                if let Some(stream) = secure.accept_page(stream).await {
                    converse(stream, router).await;
                }
            }
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(PAGE_TIMEOUT, exchange) => {}
        () = place.activity.displaced() => {}
    }
}

/// One request and its answer.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        // The next request may take another place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a request to the pages failed");
    }
}

#[cfg(test)]
#[path = "http_test.rs"]
mod tests;
