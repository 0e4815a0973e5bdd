use std::io::{Read, Write};
use std::net::SocketAddr;

use super::*;
use crate::telemetry::start_metrics;

/// The whole response to a GET.
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
fn the_pages_show_health_readiness_and_metrics() {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let ready = Arc::new(AtomicBool::new(false));
    let pool = Pool::new(1 << 20, 0);
    let metrics = start_metrics().expect("the first recorder");
    let pulse = Pulse::new(|| Duration::ZERO);
    let router = pages(ready.clone(), pulse, pool.clone(), metrics);
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    runtime.spawn(serve_pages(listener, router, None));
    // More than there are places for: they make room for whoever asks something.
    let silent: Vec<_> = (0..3 * PAGES)
        .map(|_| std::net::TcpStream::connect(address).expect("listening"))
        .collect();

    assert!(get_page(address, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get_page(address, "/readyz").starts_with("HTTP/1.1 503"));
    ready.store(true, Ordering::Relaxed);
    assert!(get_page(address, "/readyz").starts_with("HTTP/1.1 200"));
    // They exist before anything is served.
    let metrics = get_page(address, "/metrics");
    for line in [
        "# TYPE pangea_compute_batches_total counter",
        "# TYPE pangea_compute_connections gauge",
        "pangea_compute_memory_bytes 0",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let held = pool.zeroed(1000).expect("within the limit");
    let line = format!("pangea_compute_memory_bytes {}\n", pool.live_bytes());
    assert!(pool.live_bytes() >= 1000);
    assert!(get_page(address, "/metrics").contains(&line));
    drop(held);
    assert!(get_page(address, "/nothing").starts_with("HTTP/1.1 404"));
    // Nobody keeps a place: the others needed it, or the time for a header is over.
    for mut stream in silent {
        let _ = stream.read_to_end(&mut Vec::new());
    }
}
