//! Asks a data service whether it is alive: the container has no other program that could.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use pangea_identity::{Identity, Role};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Error, StreamOwned};

use crate::address::targets;

const TIMEOUT: Duration = Duration::from_secs(2);

/// GETs /healthz at `address`, in the form of --http. The error says why the service counts as
/// dead. With PANGEA_IDENTITY, over TLS where the service's pages are.
pub fn health(address: &str) -> Result<()> {
    let identity = env::var_os("PANGEA_IDENTITY").filter(|dir| !dir.is_empty());
    ask(address, identity.as_ref().map(Path::new))
}

fn ask(address: &str, identity: Option<&Path>) -> Result<()> {
    let targets = targets(address).with_context(|| {
        format!("`{address}` is not an address; wanted HOST:PORT, [IPV6]:PORT or :PORT")
    })?;
    let stream = || {
        let targets = targets.iter().copied();
        let stream = connect(targets).with_context(|| format!("no answer from {address}"))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        anyhow::Ok(stream)
    };
    let Some(dir) = identity else {
        return status(stream()?, address);
    };
    let own = Identity::load(dir, Role::Data)?;
    let name = ServerName::try_from(Role::Data.as_str())?;
    let session = ClientConnection::new(own.client_config(Role::Data)?, name)?;
    match status(StreamOwned::new(session, stream()?), address) {
        // As on the loopback.
        Err(error) if speaks_no_tls(&error) => status(stream()?, address),
        answered => answered,
    }
}

fn speaks_no_tls(error: &anyhow::Error) -> bool {
    let wrapped = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>());
    let inner = wrapped.and_then(|error| error.get_ref()?.downcast_ref());
    matches!(inner, Some(Error::InvalidMessage(_)))
}

fn status(mut stream: impl Read + Write, address: &str) -> Result<()> {
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut status = String::new();
    BufReader::new(stream)
        .read_line(&mut status)
        .with_context(|| format!("no answer from {address}"))?;
    if status.split(' ').nth(1) != Some("200") {
        bail!("{address} answers {:?}", status.trim_end());
    }
    Ok(())
}

/// Connects to the first address that accepts: `localhost` has two, and a service listens at one of
/// them.
fn connect(targets: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for target in targets {
        match TcpStream::connect_timeout(&target, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// The error of `health` for a peer that answers with `answer`; empty if there is none.
    fn verdict(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!(":{}", listener.local_addr().expect("bound").port());
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("asked");
            // The whole request: closing earlier could make the other side's write fail.
            let mut asked = Vec::new();
            let mut piece = [0; 4096];
            while !asked.ends_with(b"\r\n\r\n") {
                let count = stream.read(&mut piece).expect("a request");
                assert_ne!(count, 0, "the request ends too early");
                asked.extend_from_slice(&piece[..count]);
            }
            assert!(asked.starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).expect("answered");
        });
        let verdict = ask(&address, None);
        peer.join().expect("no panic");
        verdict
            .err()
            .map_or_else(String::new, |error| format!("{error:#}"))
    }

    #[test]
    fn a_service_is_alive_if_it_answers_with_200() {
        assert_eq!(verdict("HTTP/1.1 200 OK\r\n\r\nok\n"), "");
        assert!(verdict("HTTP/1.1 503 Service Unavailable\r\n\r\n").contains("503"));
        assert!(verdict("").contains("answers"));
    }

    #[test]
    fn all_addresses_of_a_name_are_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let there = listener.local_addr().expect("bound");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let nobody = free.local_addr().expect("bound");
        drop(free);
        let stream = connect([nobody, there].into_iter()).expect("the second one answers");
        assert_eq!(stream.peer_addr().expect("connected"), there);
    }

    #[test]
    fn a_dead_service_and_an_invalid_address_are_errors() {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("bound").to_string();
        drop(free);
        let error = ask(&address, None).expect_err("nobody is there");
        assert!(format!("{error:#}").contains("no answer"));
        let error = health("nonsense").expect_err("no port");
        assert!(format!("{error:#}").contains("HOST:PORT"));
    }
}
