//! The port file: says where the service listens, once it is ready.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
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
    write_new(temporary.as_ref(), &(text + "\n"))
        .and_then(|()| fs::rename(&temporary, file))
        .with_context(|| format!("cannot write --port-file {}", file.display()))
}

/// Never through a link that somebody has put there, and not for everybody to read.
fn write_new(file: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(file)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_link_in_its_place_is_not_written_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name);
        fs::write(place("victim"), "precious").expect("written");
        std::os::unix::fs::symlink(place("victim"), place("ports.tmp")).expect("linked");
        let address = "127.0.0.1:1".parse().expect("valid");
        write_ports(&place("ports"), address, address, None).expect("written");
        assert_eq!(
            fs::read_to_string(place("victim")).expect("there"),
            "precious"
        );
        let mode = fs::metadata(place("ports"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o007, 0);
    }
}
