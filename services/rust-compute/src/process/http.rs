//! The pages for probes and monitoring: /healthz, /readyz and /metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use axum::http::StatusCode;
use axum::routing::get;
use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use pangea_wire::Pool;

use crate::telemetry::measure_memory;

/// `ready` says whether workers are served now; `pool` is the memory of requests and replies.
pub fn pages(ready: Arc<AtomicBool>, pool: Pool, metrics: PrometheusHandle) -> Router {
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
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics_page))
}

#[cfg(test)]
#[path = "http_test.rs"]
mod tests;
