//! Sockets of one user, at paths of any length.
#![expect(
    clippy::expect_used,
    reason = "a test fails where something unexpected happens"
)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pangea_shared_memory::{connect, listen, peer_is_same_user};

const PATIENCE: Duration = Duration::from_secs(30);

fn deep(folder: &Path) -> PathBuf {
    let folder = folder.join("a".repeat(90)).join("b".repeat(90));
    fs::create_dir_all(&folder).expect("writable");
    folder.join("service.sock")
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}

#[test]
fn short_and_long_paths_connect_and_leave_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().join("s"), deep(folder.path())] {
        let (listener, file) = listen(&path).expect("free");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut client = connect(&path, PATIENCE).expect("it listens");
        let (mut server, _) = listener.accept().expect("one waits");
        assert!(peer_is_same_user(&server).expect("connected"));
        client.write_all(b"x").expect("room");
        server.read_exact(&mut [0]).expect("sent");
        drop(file);
        assert_eq!(
            connect(&path, PATIENCE).expect_err("removed").kind(),
            ErrorKind::NotFound
        );
        let inside = files(path.parent().expect("a folder"));
        // Beside the first path lies the folder of the second one.
        assert!(inside <= 1, "{inside} files are left");
    }
}

#[test]
fn a_live_socket_is_not_taken_and_a_dead_one_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let (listener, file) = listen(&path).expect("free");
    let taken = listen(&path).map(|_| ()).expect_err("taken");
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    // As after a kill: nobody listens, the file is still there.
    std::mem::forget(file);
    drop(listener);
    assert_eq!(
        connect(&path, PATIENCE).expect_err("dead").kind(),
        ErrorKind::ConnectionRefused
    );
    let (_listener, file) = listen(&path).expect("replaced");
    connect(&path, PATIENCE).expect("it listens");
    // One that replaced the file is not robbed of it by its predecessor.
    fs::remove_file(&path).expect("there");
    let (_successor, _file) = listen(&path).expect("free");
    drop(file);
    connect(&path, PATIENCE).expect("the successor's file is still there");
}

#[test]
fn what_cannot_be_a_socket_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "precious").expect("writable");
    let refused = listen(&file).map(|_| ());
    // The system refuses to connect to a file, as to a dead socket; it must not be replaced.
    assert!(refused.is_err() && fs::read(&file).expect("there") == b"precious");
    let missing = folder.path().join("missing").join("s");
    let error = listen(&missing).map(|_| ()).expect_err("no folder");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let name = folder.path().join("n".repeat(200));
    let error = listen(&name).map(|_| ()).expect_err("too long");
    assert!(error.to_string().contains("shorter"), "{error}");
}
