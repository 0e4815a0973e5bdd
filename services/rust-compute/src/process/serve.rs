//! The life of the process: bind, read the data, serve, stop.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use pangea_wire::{Limits, Pool, WireError};
use rust_compute_serving::{serve as serve_remote, serve_local, Batches, LendingLimit, Service};
use rust_compute_sources::Spec;
use rust_compute_storage::Storage;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::{watch, Semaphore};
use tokio::task::JoinSet;

use crate::address::{dialable, listen};
use crate::clock;
use crate::http::pages;
use crate::load::load;
use crate::local::{LocalListener, Worker};
use crate::port_file::write_ports;
use crate::secure::Secure;
use crate::secure_pages::SecurePages;
use crate::settings::Settings;
use crate::telemetry::{keep_metrics_small, start_logging, start_metrics};

/// How long a stopping service waits until its last replies are sent.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait after the system failed to accept a connection, most likely because there is no
/// file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Runs the service until SIGTERM or SIGINT.
pub fn serve(settings: &Settings) -> Result<()> {
    let spec = Spec::parse(&settings.dataset, &settings.data_dir)?;
    start_logging(settings.log_format)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(run(settings, spec));
    // When the service is stopped while it reads the data, it does not wait for the thread that
    // reads.
    runtime.shutdown_background();
    result
}

async fn run(settings: &Settings, spec: Spec) -> Result<()> {
    // From here on, signals stop the service, even while it reads the data.
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
    let router = pages(ready.clone(), pool.clone(), handle);
    let secure_pages = secure.clone().filter(|_| is_exposed(http_address));
    tokio::spawn(async move {
        let served = match secure_pages {
            Some(secure) => match SecurePages::new(http, secure) {
                Ok(pages) => axum::serve(pages, router).await,
                Err(error) => Err(error),
            },
            None => axum::serve(http, router).await,
        };
        if let Err(error) = served {
            tracing::error!(%error, "the HTTP server failed");
        }
    });

    let storage = Storage {
        max_bytes: settings.max_data_bytes,
    };
    let dataset = tokio::select! {
        loaded = tokio::task::spawn_blocking(move || load(&spec, &storage)) => loaded??,
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
        batches: Batches::new(dataset, pool.clone()),
        // The other half is for workers on other machines, whatever is lent here.
        lending_limit: Arc::new(LendingLimit::new(
            pool.clone(),
            settings.max_memory_bytes / 2,
        )),
        pool,
        reply_limits: Limits::default(),
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
    accept(
        service,
        secure,
        listener,
        local,
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
            anyhow::anyhow!("cannot listen on {address}: another process does; stop it, or choose \
                another {option} (port 0 takes a free one)")
        } else {
            anyhow::anyhow!("cannot listen on {address}: {error}; choose another {option}")
        }
    })
}

/// Accepts connections until the service stops, then waits until their last replies are sent.
async fn accept(
    service: Arc<Service>,
    secure: Option<Arc<Secure>>,
    listener: TcpListener,
    local: Option<LocalListener>,
    mut stopping: watch::Receiver<bool>,
    max_connections: usize,
    ready: &AtomicBool,
) {
    let slots = Arc::new(Semaphore::new(max_connections));
    let mut connections = JoinSet::new();
    let mut stop = stopping.clone();
    loop {
        // Connections beyond the limit wait in the accept backlog until a worker leaves.
        let next = tokio::select! {
            next = async { (slots.clone().acquire_owned().await, next_worker(&listener, local.as_ref()).await) } => next,
            Some(_) = connections.join_next() => continue,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        match next {
            (Ok(slot), Ok(worker)) => {
                let (service, secure, stop) = (service.clone(), secure.clone(), stop.clone());
                connections.spawn(async move {
                    serve_worker(service, secure, worker, stop).await;
                    drop(slot);
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
    drop((listener, local));
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, all).await.is_err() {
        tracing::warn!(
            seconds = DRAIN_TIMEOUT.as_secs(),
            "some workers did not read their last replies"
        );
    }
}

/// The next worker that connects, in either way.
async fn next_worker(listener: &TcpListener, local: Option<&LocalListener>) -> io::Result<Worker> {
    let remote = async {
        let (stream, address) = listener.accept().await?;
        Ok(Worker::Remote(stream, address))
    };
    let Some(local) = local else {
        return remote.await;
    };
    tokio::select! {
        worker = remote => worker,
        worker = local.accept() => worker,
    }
}

async fn serve_worker(
    service: Arc<Service>,
    secure: Option<Arc<Secure>>,
    worker: Worker,
    stopping: watch::Receiver<bool>,
) {
    let connections = metrics::gauge!("pangea_compute_connections");
    connections.increment(1.0);
    let peer = worker.name();
    tracing::info!(peer, "worker connected");
    let served = match worker {
        Worker::Remote(stream, _) => serve_over_tcp(service, secure, stream, stopping, &peer).await,
        Worker::Local(stream, _) => serve_local(service, stream, stopping).await,
    };
    match served {
        Ok(()) => tracing::info!(peer, "worker disconnected"),
        Err(error) => tracing::warn!(peer, %error, "connection failed"),
    }
    connections.decrement(1.0);
}

async fn serve_over_tcp(
    service: Arc<Service>,
    secure: Option<Arc<Secure>>,
    stream: TcpStream,
    stopping: watch::Receiver<bool>,
    peer: &str,
) -> Result<(), WireError> {
    // Replies are whole frames, which waiting for a full packet would only delay.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, peer, "cannot set TCP_NODELAY");
    }
    match secure {
        Some(secure) => secure.serve(service, stream, stopping, peer).await,
        None => serve_remote(service, stream, stopping).await,
    }
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
