use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use pangea_identity_fixtures::Authority;
use rustls::{ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::super::{Stream, TICK};
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

type Served = StreamOwned<ServerConnection, TcpStream>;

struct Run {
    server: TempDir,
    worker: TempDir,
}

fn run() -> (Authority, Run) {
    let authority = Authority::default();
    let folder = || tempfile::tempdir().expect("a folder");
    let run = Run {
        server: folder(),
        worker: folder(),
    };
    authority.issue(run.server.path(), "pangea://r/data/d", 1);
    authority.issue(run.worker.path(), "pangea://r/worker/w", 2);
    (authority, run)
}

/// A worker's stream to a server that does `work` with its end.
fn connect<T: Send + 'static>(
    run: &Run,
    work: impl FnOnce(Served) -> T + Send + 'static,
) -> (io::Result<Stream>, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let identity = Identity::load(run.server.path(), Role::Data).expect("an identity");
    let serving = thread::spawn(move || {
        let (socket, _) = listener.accept().expect("one");
        let config = identity.workers_config().expect("valid");
        let session = ServerConnection::new(config).expect("a session");
        work(StreamOwned::new(session, socket))
    });
    let socket = TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(TICK)).expect("set");
    socket.set_write_timeout(Some(TICK)).expect("set");
    let peer = Peer {
        role: Role::Data,
        identity: Some(run.worker.path().to_owned()),
    };
    let secure = Secure::connect(socket, &peer, run.worker.path(), PATIENCE);
    (secure.map(Stream::secure), serving)
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at * 31) >> 7) as u8).collect()
}

fn send_all(mut stream: &Stream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) => assert!(is_pause(&error), "{error}"),
        }
    }
    while !stream.poll_flush().expect("open") {}
}

fn read_all(mut stream: &Stream, bytes: usize) -> Vec<u8> {
    let mut found = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        match stream.read(&mut found[filled..]) {
            Ok(0) => panic!("the stream ends after {filled} bytes"),
            Ok(read) => filled += read,
            Err(error) => assert!(is_pause(&error), "{error}"),
        }
    }
    found
}

/// More than any buffer holds goes both ways at the same time, on two threads of the worker.
#[test]
fn bytes_go_both_ways_at_once() {
    const BYTES: usize = 9_000_001;
    let (_authority, run) = run();
    let (stream, serving) = connect(&run, |mut served| {
        let mut found = vec![0; BYTES];
        served.read_exact(&mut found).expect("all of it");
        served.write_all(&found).expect("read");
        served.flush().expect("read");
    });
    let stream = stream.expect("accepted");
    let sent = pattern(BYTES);
    let received = thread::scope(|scope| {
        scope.spawn(|| send_all(&stream, &sent));
        read_all(&stream, BYTES)
    });
    assert!(received == sent);
    serving.join().expect("no panic");
}

/// What does not fit into the socket is not lost, and is sent once there is room.
#[test]
fn a_slow_reader_gets_everything() {
    const BYTES: usize = 12 << 20;
    let (_authority, run) = run();
    let (sender, may_read) = std::sync::mpsc::channel::<()>();
    let (stream, serving) = connect(&run, move |mut served| {
        served
            .conn
            .complete_io(&mut served.sock)
            .expect("a handshake");
        may_read.recv().expect("told to");
        let mut found = vec![0; BYTES];
        served.read_exact(&mut found).expect("all of it");
        found
    });
    let stream = stream.expect("accepted");
    let sent = pattern(BYTES);
    let mut rest = &sent[..];
    // Until the socket takes no more.
    loop {
        match (&stream).write(rest) {
            Ok(bytes) => rest = &rest[bytes..],
            Err(error) if is_pause(&error) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(stream.unsent() > 0);
    sender.send(()).expect("it waits");
    send_all(&stream, rest);
    assert!(serving.join().expect("no panic") == sent);
}

/// Small windows and small slices: nothing depends on where records begin.
#[test]
fn slices_and_windows_may_be_small() {
    let (_authority, run) = run();
    let (stream, serving) = connect(&run, |mut served| {
        let mut found = vec![0; 50_000];
        served.read_exact(&mut found).expect("all of it");
        served.write_all(&found).expect("read");
        served.flush().expect("read");
    });
    let stream = stream.expect("accepted");
    let sent = pattern(50_000);
    let mut rest = &sent[..];
    while !rest.is_empty() {
        let slices = [&rest[..rest.len().min(7)], &rest[rest.len().min(7)..]].map(IoSlice::new);
        match (&stream).write_vectored(&slices) {
            Ok(bytes) => rest = &rest[bytes..],
            Err(error) => assert!(is_pause(&error), "{error}"),
        }
    }
    while !stream.poll_flush().expect("open") {}
    let mut received = Vec::new();
    while received.len() < sent.len() {
        received.extend(read_all(&stream, 1000));
    }
    assert!(received == sent);
    serving.join().expect("no panic");
}

fn refusal(stream: io::Result<Stream>) -> String {
    let error = match stream {
        Err(error) => error,
        // The server's verdict arrives with its first bytes.
        Ok(stream) => loop {
            match (&stream).read(&mut [0; 8]) {
                Ok(_) => panic!("the stream continues, or ends without a word"),
                Err(error) if is_pause(&error) => {}
                Err(error) => break error,
            }
        },
    };
    assert!(is_about_identity(&error), "{error}");
    error.to_string()
}

fn refused(mut served: Served) {
    assert!(served.conn.complete_io(&mut served.sock).is_err());
    while served.conn.wants_write() {
        served.conn.write_tls(&mut served.sock).expect("sent");
    }
    // Until the worker has read the alert and closed.
    let _ = io::copy(&mut served.sock, &mut io::sink());
}

#[test]
fn a_worker_learns_why_it_is_refused() {
    let (authority, run) = run();
    authority.revoke(run.server.path(), 2);
    let (stream, serving) = connect(&run, refused);
    let says = refusal(stream);
    assert!(
        says.contains("this process's certificate is revoked"),
        "{says}"
    );
    serving.join().expect("no panic");

    authority.issue_until(run.worker.path(), "pangea://r/worker/w", 3, 2020);
    let (stream, serving) = connect(&run, refused);
    let says = refusal(stream);
    assert!(
        says.contains("this process's certificate has expired"),
        "{says}"
    );
    serving.join().expect("no panic");
}

#[test]
fn a_worker_refuses_a_server_of_another_authority_or_role() {
    let (authority, run) = run();
    Authority::default().issue(run.server.path(), "pangea://r/data/d", 1);
    let (stream, serving) = connect(&run, refused);
    let says = refusal(stream);
    assert!(says.contains("is not of this run's authority"), "{says}");
    serving.join().expect("no panic");

    authority.issue(run.server.path(), "pangea://r/data/d", 1);
    authority.issue(run.worker.path(), "pangea://r/viewer/w", 2);
    let peer = Peer {
        role: Role::Data,
        identity: None,
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let socket = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let error = Secure::connect(socket, &peer, run.worker.path(), PATIENCE).err();
    let says = error.expect("refused").to_string();
    assert!(says.contains("has role viewer"), "{says}");
}

/// A server without TLS answers with a frame.
#[test]
fn a_server_without_tls_is_recognised() {
    let (_authority, run) = run();
    let (stream, serving) = connect(&run, |mut served| {
        let mut first = [0; 16];
        served.sock.read_exact(&mut first).expect("a hello");
        served.sock.write_all(&[0; 64]).expect("sent");
        let _ = io::copy(&mut served.sock, &mut io::sink());
    });
    let says = refusal(stream);
    assert!(says.contains("does not speak TLS"), "{says}");
    serving.join().expect("no panic");
}
