//! Two processes shake hands, and say what is wrong where they do not.
#![expect(
    clippy::expect_used,
    reason = "a test fails where something unexpected happens"
)]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use pangea_identity::{explain, Identity, Name, Role, Watched};
use pangea_identity_fixtures::Authority;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConnection, StreamOwned};
use tempfile::TempDir;

const DATA: &str = "pangea://r/data/d";
const WORKER: &str = "pangea://r/worker/w";

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A directory with the identity of `uri`.
fn issued(authority: &Authority, uri: &str, serial: u64) -> TempDir {
    let dir = folder();
    authority.issue(dir.path(), uri, serial);
    dir
}

fn load(dir: &Path, role: Role) -> Arc<Identity> {
    Identity::load(dir, role).expect("an identity")
}

fn words(error: io::Error, peer: Role) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner
        .and_then(|inner| explain(inner, peer))
        .unwrap_or_else(|| error.to_string())
}

/// What the data service and the worker say after a handshake and a byte each way.
fn connect(
    server: &Arc<Identity>,
    client: Arc<ClientConfig>,
) -> (Result<Name, String>, Result<(), String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let connecting = thread::spawn(move || {
        let name = ServerName::try_from("data").expect("a name");
        let session = ClientConnection::new(client, name).expect("a session");
        let socket = TcpStream::connect(address).expect("it listens");
        let mut stream = StreamOwned::new(session, socket);
        let mut byte = [0];
        let outcome = stream
            .write_all(b"x")
            .and_then(|()| stream.read_exact(&mut byte));
        outcome.map_err(|error| words(error, Role::Data))
    });
    let (socket, _) = listener.accept().expect("one");
    let session = ServerConnection::new(server.workers_config().expect("valid"));
    let mut stream = StreamOwned::new(session.expect("a session"), socket);
    let mut byte = [0];
    let served = stream
        .read_exact(&mut byte)
        .and_then(|()| stream.write_all(b"y"));
    let served = served.map_err(|error| words(error, Role::Worker));
    let who = served.and_then(|()| {
        let chain = stream.conn.peer_certificates().expect("one");
        server.recognize(&chain[0])
    });
    // An alert must not be lost to a reset.
    let _ = stream.flush();
    let _ = stream.sock.shutdown(std::net::Shutdown::Write);
    let _ = io::copy(&mut stream.sock, &mut io::sink());
    (who, connecting.join().expect("no panic"))
}

#[test]
fn a_peer_is_known_by_its_certificate() {
    let authority = Authority::default();
    let (ours, theirs) = (issued(&authority, DATA, 1), issued(&authority, WORKER, 2));
    let server = load(ours.path(), Role::Data);
    let client = load(theirs.path(), Role::Worker);
    let (who, connected) = connect(&server, client.client_config(Role::Data).expect("valid"));
    assert_eq!(who.expect("a worker").to_string(), WORKER);
    assert_eq!(connected, Ok(()));

    let config = client.client_config(Role::Orchestrator).expect("valid");
    let (_, connected) = connect(&server, config);
    let refused = connected.expect_err("another role");
    assert!(
        refused.contains("has role data, but this is the address of the orchestrator"),
        "{refused}"
    );
}

#[test]
fn strangers_are_refused_with_what_is_wrong() {
    let (authority, foreign) = (Authority::default(), Authority::default());
    let ours = issued(&authority, DATA, 1);
    let server = load(ours.path(), Role::Data);
    authority.revoke(ours.path(), 7);
    let revoking = load(ours.path(), Role::Data);

    let expired = folder();
    authority.issue_until(expired.path(), WORKER, 3, 2020);
    let of_data = |dir: &TempDir| load(dir.path(), Role::Worker).client_config(Role::Data);
    let (_, connected) = connect(&server, of_data(&expired).expect("valid"));
    let refused = connected.expect_err("expired");
    assert!(
        refused.contains("this process's certificate has expired"),
        "{refused}"
    );

    let revoked = issued(&authority, WORKER, 7);
    let (_, connected) = connect(&revoking, of_data(&revoked).expect("valid"));
    let refused = connected.expect_err("revoked");
    assert!(refused.contains("is revoked"), "{refused}");

    let stranger = issued(&foreign, WORKER, 4);
    let (_, connected) = connect(&server, of_data(&stranger).expect("valid"));
    let refused = connected.expect_err("another authority");
    assert!(
        refused.contains("is not of this run's authority"),
        "{refused}"
    );

    let elsewhere = issued(&authority, "pangea://other/worker/w", 5);
    let (_, connected) = connect(&server, of_data(&elsewhere).expect("valid"));
    let refused = connected.expect_err("another run");
    assert!(refused.contains("is not of the run other"), "{refused}");
}

#[test]
fn a_peer_that_shows_many_certificates_is_refused() {
    let (authority, foreign) = (Authority::default(), Authority::default());
    let (ours, theirs) = (issued(&authority, DATA, 1), issued(&authority, WORKER, 2));
    let server = load(ours.path(), Role::Data);
    foreign.prolong(theirs.path(), 3);
    let few = load(theirs.path(), Role::Worker);
    let (who, _) = connect(&server, few.client_config(Role::Data).expect("valid"));
    assert_eq!(who.expect("a worker").to_string(), WORKER);

    foreign.prolong(theirs.path(), 1);
    let many = load(theirs.path(), Role::Worker);
    let (who, connected) = connect(&server, many.client_config(Role::Data).expect("valid"));
    let refused = connected.expect_err("too many");
    assert!(refused.contains("its log says why"), "{refused}");
    let logged = who.expect_err("too many");
    assert!(logged.contains("MaximumPathDepthExceeded"), "{logged}");
}

#[test]
fn certificates_are_revoked_and_renewed_while_a_process_runs() {
    let authority = Authority::default();
    let (ours, theirs) = (issued(&authority, DATA, 1), issued(&authority, WORKER, 2));
    let watched = Watched::open(ours.path().to_owned(), Role::Data).expect("an identity");
    let worker = load(theirs.path(), Role::Worker);
    assert!(!watched.refresh().expect("readable"));
    assert!(!watched.current().is_revoked(worker.chain()));
    authority.revoke(ours.path(), 2);
    assert!(watched.refresh().expect("readable"));
    assert!(watched.current().is_revoked(worker.chain()));

    authority.issue(ours.path(), DATA, 3);
    assert!(watched.refresh().expect("readable"));
    std::fs::write(ours.path().join("key.pem"), "half").expect("written");
    assert!(watched.refresh().is_err());
    assert_eq!(watched.current().name().to_string(), DATA);
}

#[test]
fn directories_that_cannot_be_used_are_named() {
    let authority = Authority::default();
    let foreign = issued(&authority, "https://example.org/data/d", 2);
    let endless = issued(&authority, DATA, 3);
    let revoked = endless.path().join("revoked.pem");
    std::os::unix::fs::symlink("/dev/zero", revoked).expect("linked");
    for (dir, role, says) in [
        (folder(), Role::Data, "cannot read"),
        (issued(&authority, WORKER, 1), Role::Data, "has role worker"),
        (endless, Role::Data, "not a regular file"),
        (foreign, Role::Data, "Pangea's are pangea://RUN/ROLE/NAME"),
    ] {
        let error = Identity::load(dir.path(), role)
            .err()
            .expect("refused")
            .to_string();
        assert!(error.contains(says), "{error}");
    }
}
