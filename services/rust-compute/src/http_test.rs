use std::io::{Read, Write};
use std::net::SocketAddr;

use super::*;
use crate::telemetry::start_metrics;

/// The whole answer to a GET.
fn get_page(address: SocketAddr, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).expect("listening");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

#[test]
fn probes_tell_health_readiness_and_metrics() {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let ready = Arc::new(AtomicBool::new(false));
    let router = pages(ready.clone(), start_metrics().expect("the first recorder"));
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    runtime.spawn(async { axum::serve(listener, router).await });

    assert!(get_page(address, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get_page(address, "/readyz").starts_with("HTTP/1.1 503"));
    ready.store(true, Ordering::Relaxed);
    assert!(get_page(address, "/readyz").starts_with("HTTP/1.1 200"));
    // There before anything was served.
    let metrics = get_page(address, "/metrics");
    for line in [
        "# TYPE pangea_compute_batches_total counter",
        "# TYPE pangea_compute_connections gauge",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(get_page(address, "/nothing").starts_with("HTTP/1.1 404"));
}
