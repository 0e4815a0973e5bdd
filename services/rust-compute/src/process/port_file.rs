//! The port file: says where the service listens, once it is ready.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes {"listen": "host:port", "http": "host:port"}, and "socket" if there is one, atomically: a
/// reader sees no file or a complete one.
pub fn write_ports(
    file: &Path,
    listen: SocketAddr,
    http: SocketAddr,
    socket: Option<&Path>,
) -> Result<()> {
    let mut ports = serde_json::json!({"listen": listen.to_string(), "http": http.to_string()});
    if let Some(socket) = socket {
        ports["socket"] = socket.to_string_lossy().into();
    }
    let text = ports.to_string();
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".tmp");
    fs::write(&temporary, text + "\n")
        .and_then(|()| fs::rename(&temporary, file))
        .with_context(|| format!("cannot write --port-file {}", file.display()))
}
