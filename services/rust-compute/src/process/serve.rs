//! The life of the process: bind, read the data, serve, stop.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use pangea_wire::{Limits, Pool};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::{watch, Semaphore};
use tokio::task::JoinSet;

use crate::process::address::{dialable, listen};
use crate::serving::batch::Batches;
use crate::serving::connection::{self, Service};
use crate::dataset::Dataset;
use crate::process::http::pages;
use crate::process::port_file::write_ports;
use crate::process::settings::Settings;
use crate::process::telemetry::{keep_metrics_small, start_logging, start_metrics};

/// How long a stopping service waits for answers to be sent.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long to wait after the system refused a connection (no descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Runs the service until SIGTERM or SIGINT.
pub fn serve(settings: &Settings) -> Result<()> {
    start_logging(settings.log_format)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(run(settings));
    // A stop while the data is being read does not wait for the thread that reads.
    runtime.shutdown_background();
    result
}

async fn run(settings: &Settings) -> Result<()> {
    // Signals count from here on, also while the data is being read.
    let (stop, mut stopping) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stop.send_replace(true);
        // Keeps the channel open until the process ends.
        std::future::pending::<()>().await;
    });
    let listener = bind("--listen", &settings.listen).await?;
    let http = bind("--http", &settings.http).await?;
    let (listen_address, http_address) = (listener.local_addr()?, http.local_addr()?);

    let ready = Arc::new(AtomicBool::new(false));
    let handle = start_metrics()?;
    tokio::spawn(keep_metrics_small(handle.clone()));
    let pool = Pool::new(settings.max_memory_bytes, settings.max_memory_bytes / 4);
    metrics::gauge!("pangea_compute_memory_limit_bytes").set(settings.max_memory_bytes as f64);
    let router = pages(ready.clone(), pool.clone(), handle);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(http, router).await {
            tracing::error!(%error, "the HTTP pages are gone");
        }
    });

    let owned = settings.clone();
    let dataset = tokio::select! {
        loaded = tokio::task::spawn_blocking(move || Dataset::load(&owned)) => loaded??,
        _ = stopping.wait_for(|stop| *stop) => {
            tracing::info!("stopped while the dataset was being read");
            return Ok(());
        }
    };
    tracing::info!(dataset = dataset.name, train = dataset.split.train.len(), held_out = dataset.split.held_out.len(), listen = %listen_address, http = %http_address, "ready");
    let service = Arc::new(Service {
        batches: Batches::new(dataset, pool.clone()),
        pool,
        reply_limits: Limits::default(),
    });
    ready.store(true, Ordering::Relaxed);
    if let Some(file) = &settings.port_file {
        write_ports(file, dialable(listen_address), dialable(http_address))?;
    }
    accept(
        service,
        listener,
        stopping,
        settings.max_connections,
        &ready,
    )
    .await;
    tracing::info!("stopped");
    Ok(())
}

async fn bind(option: &str, address: &str) -> Result<TcpListener> {
    listen(address).await.map_err(|error| {
        if error.kind() == ErrorKind::InvalidInput {
            anyhow::anyhow!("{option} {address} is not an address ({error}); wanted HOST:PORT, [IPV6]:PORT or :PORT")
        } else if error.kind() == ErrorKind::AddrInUse {
            anyhow::anyhow!("cannot listen on {address}: another process does already; stop it, or choose another {option} (port 0 takes a free one)")
        } else {
            anyhow::anyhow!("cannot listen on {address}: {error}; choose another {option}")
        }
    })
}

/// Takes connections until the service stops, then waits for their last answers.
async fn accept(
    service: Arc<Service>,
    listener: TcpListener,
    mut stopping: watch::Receiver<bool>,
    most: usize,
    ready: &AtomicBool,
) {
    let places = Arc::new(Semaphore::new(most));
    let mut connections = JoinSet::new();
    let mut stop = stopping.clone();
    loop {
        // A worker too many waits in the system's queue until another one leaves.
        let next = tokio::select! {
            next = async { (places.clone().acquire_owned().await, listener.accept().await) } => next,
            Some(_) = connections.join_next() => continue,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        match next {
            (Ok(place), Ok((stream, peer))) => {
                let (service, stop) = (service.clone(), stop.clone());
                connections.spawn(async move {
                    talk(service, stream, stop, &peer.to_string()).await;
                    drop(place);
                });
            }
            (_, Err(error)) => {
                tracing::warn!(%error, "cannot accept a connection");
                let _ = tokio::time::timeout(ACCEPT_PAUSE, stop.wait_for(|stop| *stop)).await;
            }
            (Err(_), _) => break,
        }
    }
    ready.store(false, Ordering::Relaxed);
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, all).await.is_err() {
        tracing::warn!(
            seconds = FAREWELL.as_secs(),
            "some workers did not take their last answers"
        );
    }
}

async fn talk(
    service: Arc<Service>,
    stream: TcpStream,
    stopping: watch::Receiver<bool>,
    peer: &str,
) {
    let connections = metrics::gauge!("pangea_compute_connections");
    connections.increment(1.0);
    // Answers are whole frames; waiting to fill a packet only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, peer, "cannot switch off the delay of small packets");
    }
    tracing::info!(peer, "worker connected");
    match connection::serve(service, stream, stopping).await {
        Ok(()) => tracing::info!(peer, "worker gone"),
        Err(error) => tracing::warn!(peer, %error, "a connection broke"),
    }
    connections.decrement(1.0);
}
