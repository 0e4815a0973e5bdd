//! Logs and metrics.

use std::time::Duration;

use anyhow::{Context, Result};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use pangea_wire::Pool;
use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// How often single measurements are merged into histograms.
const UPKEEP: Duration = Duration::from_secs(5);

/// Logs to stderr. RUST_LOG selects the level, by default `info`.
pub fn start_logging(format: LogFormat) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(false).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

/// Installs the metrics of the process. All counters exist from the start, at 0.
pub fn start_metrics() -> Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .install_recorder()
        .context("cannot start the metrics")?;
    for (name, help) in [
        ("pangea_compute_batches_total", "Batches served."),
        ("pangea_compute_samples_total", "Samples in served batches."),
        ("pangea_compute_sent_bytes_total", "Bytes to workers."),
        ("pangea_compute_refusals_total", "Refused requests."),
    ] {
        describe_counter!(name, help);
        counter!(name).increment(0);
    }
    for (name, help) in [
        ("pangea_compute_connections", "Open connections."),
        (
            "pangea_compute_memory_bytes",
            "Memory of frames that arrive and batches that are sent.",
        ),
        (
            "pangea_compute_memory_limit_bytes",
            "Limit of memory_bytes: --max-memory-bytes.",
        ),
    ] {
        describe_gauge!(name, help);
        gauge!(name).set(0.0);
    }
    describe_histogram!("pangea_compute_reply_seconds", "Time to compute a reply.");
    Ok(handle)
}

/// Updates the gauge of memory in use, for the page that is about to be rendered.
pub fn measure_memory(pool: &Pool) {
    gauge!("pangea_compute_memory_bytes").set(pool.live_bytes() as f64);
}

/// Merges measurements for as long as the process lives. Histograms keep each one until then, even
/// if nobody reads /metrics.
pub async fn keep_metrics_small(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}
