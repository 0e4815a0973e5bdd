//! Answers for probes: /healthz, /readyz and /metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use axum::http::StatusCode;
use axum::routing::get;
use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;

/// `ready` tells whether workers are served now.
pub fn pages(ready: Arc<AtomicBool>, metrics: PrometheusHandle) -> Router {
    let readiness = move || async move {
        if ready.load(Ordering::Relaxed) {
            (StatusCode::OK, "ok\n")
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the dataset is being read, or the service stops\n",
            )
        }
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(move || async move { metrics.render() }))
}

#[cfg(test)]
#[path = "http_test.rs"]
mod tests;
