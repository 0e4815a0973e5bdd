//! The life of the process: bind, read the data, serve, stop.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use pangea_wire::{Limits, Pool};
use rust_compute_reading::Task;
use rust_compute_serving::{Batches, LendingLimit, Patience, Sampled, Service, Turns};
use rust_compute_sources::Spec;
use tokio::net::TcpListener;
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::watch;

use crate::accept::{accept, Listeners};
use crate::address::{dialable, listen};
use crate::clock;
use crate::descriptors;
use crate::http::{pages, serve_pages};
use crate::load::load;
use crate::local::LocalListener;
use crate::places::{Allowance, Places};
use crate::port_file::write_ports;
use crate::pulse::Pulse;
use crate::secure::Secure;
use crate::service_manager::{report, report_stopping};
use crate::settings::Settings;
use crate::telemetry::{keep_metrics_small, start_logging, start_metrics};

/// A worker that asked for something less than this ago keeps its place when there are too many.
const RECENT: Duration = Duration::from_secs(1);
/// Batches that are computed or wait for a compute thread, in multiples of their number: enough to
/// keep them busy, so few that a later and smaller request is soon served.
const COMPUTED_PER_THREAD: usize = 2;

/// Runs the service until SIGTERM or SIGINT.
pub fn serve(settings: &Settings) -> Result<()> {
    let spec = Spec::parse(&settings.dataset, &settings.data_dir)?;
    start_logging(settings.log_format)?;
    let regions = descriptors::reserve(settings.max_connections)?;
    rayon::ThreadPoolBuilder::new()
        // The default is to abort the process, and with it the connections of all workers.
        .panic_handler(|_| tracing::error!("a compute thread panicked; please report what it said"))
        .build_global()
        .context("cannot start the compute threads")?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(run(settings, spec, regions));
    // When the service is stopped while it reads the data, it does not wait for the thread that
    // reads.
    runtime.shutdown_background();
    result
}

async fn run(settings: &Settings, spec: Spec, regions: usize) -> Result<()> {
    // From here on, signals stop the service, even while it reads the data.
    let (stop, mut stopping) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        report_stopping();
        stop.send_replace(true);
        // Keeps the channel open until the process ends.
        std::future::pending::<()>().await;
    });
    let listener = bind("--listen", &settings.listen).await?;
    let http = bind("--http", &settings.http).await?;
    let secure = settings.identity.as_deref().map(Secure::open).transpose()?;
    if secure.is_none() {
        must_be_private(settings, &[("--listen", &listener), ("--http", &http)])?;
    }
    let socket = settings.socket.as_deref();
    // Not all file systems have sockets; workers then come over TCP, with the same bits.
    let local = socket.and_then(|path| match LocalListener::bind(path) {
        Ok(local) => Some(local),
        Err(error) => {
            tracing::warn!("{error:#}; workers on this machine use TCP");
            None
        }
    });
    let (listen_address, http_address) = (listener.local_addr()?, http.local_addr()?);

    let ready = Arc::new(AtomicBool::new(false));
    let handle = start_metrics()?;
    tokio::spawn(keep_metrics_small(handle.clone()));
    let pool = Pool::new(settings.max_memory_bytes, settings.max_memory_bytes / 4);
    metrics::gauge!("pangea_compute_memory_limit_bytes").set(settings.max_memory_bytes as f64);
    let pulse = Pulse::new(clock::monotonic);
    tokio::spawn(pulse.clone().run());
    let router = pages(ready.clone(), pulse.clone(), pool.clone(), handle);
    let secure_pages = secure.clone().filter(|_| is_exposed(http_address));
    tokio::spawn(serve_pages(http, router, secure_pages));

    let task = Task {
        spec: settings.dataset.clone(),
        data_dir: settings.data_dir.clone(),
        max_bytes: settings.max_data_bytes,
    };
    let dataset = tokio::select! {
        loaded = tokio::task::spawn_blocking(move || load(&spec, &task)) => loaded??,
        _ = stopping.wait_for(|stop| *stop) => {
            tracing::info!("stopped while the dataset was being read");
            return Ok(());
        }
    };
    tracing::info!(
        dataset = dataset.name,
        train = dataset.split.train.len(),
        held_out = dataset.split.held_out.len(),
        listen = %listen_address,
        http = %http_address,
        "ready"
    );
    let service = Arc::new(Service {
        batches: Batches::new(dataset, pool.clone(), settings.max_memory_bytes / 4),
        // The other half is for workers on other machines, whatever is lent here.
        lending_limit: Arc::new(LendingLimit::new(
            pool.clone(),
            settings.max_memory_bytes / 2,
            regions,
        )),
        pool,
        reply_limits: Limits::default(),
        patience: Patience::default(),
        turns: Turns::new(rayon::current_num_threads() * COMPUTED_PER_THREAD),
        refusals: Sampled::default(),
        now: clock::monotonic,
    });
    ready.store(true, Ordering::Relaxed);
    if let Some(file) = &settings.port_file {
        let socket = local.as_ref().and(socket);
        write_ports(
            file,
            dialable(listen_address),
            dialable(http_address),
            socket,
        )?;
    }
    tokio::spawn(report(pulse));
    let places = Places::new(Allowance {
        places: settings.max_connections,
        per_address: settings.max_connections_per_address,
        recent: RECENT,
    });
    let listeners = Listeners {
        remote: listener,
        local,
        secure,
    };
    accept(service, listeners, stopping, places, &ready).await;
    tracing::info!("stopped");
    Ok(())
}

async fn bind(option: &str, address: &str) -> Result<TcpListener> {
    listen(address).await.map_err(|error| {
        if error.kind() == ErrorKind::InvalidInput {
            anyhow::anyhow!("{option} {address} is not an address ({error}); wanted HOST:PORT, [IPV6]:PORT or :PORT")
        } else if error.kind() == ErrorKind::AddrInUse {
            anyhow::anyhow!("cannot listen on {address}: another process does; stop it, or choose \
                another {option} (port 0 takes a free one)")
        } else {
            anyhow::anyhow!("cannot listen on {address}: {error}; choose another {option}")
        }
    })
}

/// Whether other machines can reach a socket.
fn is_exposed(bound: SocketAddr) -> bool {
    !bound.ip().is_loopback()
}

/// Refuses sockets that other machines can reach, for a process that cannot know who they are.
fn must_be_private(settings: &Settings, sockets: &[(&str, &TcpListener)]) -> Result<()> {
    if settings.insecure {
        tracing::warn!(
            "insecure: whoever reaches a port can read the dataset, and nothing is encrypted"
        );
        return Ok(());
    }
    for (option, socket) in sockets {
        let bound = socket.local_addr()?;
        anyhow::ensure!(
            !is_exposed(bound),
            "{option} {bound} can be reached from other machines, and this process has no identity: \
            make one with `pangea certs` and name it with --identity DIR, listen on 127.0.0.1, \
            or let everybody in who reaches the port with --insecure"
        );
    }
    Ok(())
}
