//! Unix sockets for one user: a file of mode 0600, of any length of path.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{fchmod, open, Mode, OFlags};
use rustix::net::sockopt::{set_socket_timeout, socket_peercred, Timeout};
use rustix::net::{
    bind, connect as connect_to, listen as listen_on, socket_with, AddressFamily, SocketAddrUnix,
    SocketFlags, SocketType,
};

const BACKLOG: i32 = 1024;
/// What an address has room for: 108 bytes, of which the last one is zero.
const MAX_ADDRESS_BYTES: usize = 107;

/// Connects to the socket at `path` within `timeout`. The listener must belong to this user.
pub fn connect(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let socket = socket(SocketFlags::empty())?;
    // Bounds a wait for a listener that does not accept.
    set_socket_timeout(&socket, Timeout::Send, Some(timeout))?;
    let address = Address::of(path)?;
    connect_to(&socket, &address.short)?;
    set_socket_timeout(&socket, Timeout::Send, None)?;
    let stream = UnixStream::from(socket);
    if !peer_is_same_user(&stream)? {
        return Err(io::Error::new(
            ErrorKind::PermissionDenied,
            format!("{} belongs to another user", path.display()),
        ));
    }
    Ok(stream)
}

/// Whether the process at the other end runs as the user of this one.
pub fn peer_is_same_user(stream: impl AsFd) -> io::Result<bool> {
    Ok(socket_peercred(stream)?.uid == rustix::process::geteuid())
}

/// Listens at `path`, which only this user can connect to. The file of a process that has ended is
/// replaced; that of one that still listens is an error.
pub fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    refuse_taken(path)?;
    let socket = socket(SocketFlags::empty())?;
    // The file gets the mode of the socket: there is no moment at which others could connect.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    // Under its name only once it listens, so that whoever connects to a file of that name is
    // refused by an ended process or accepted.
    let mut name = OsString::from(format!(".{}.", std::process::id()));
    name.push(path.file_name().unwrap_or_default());
    let hidden = path.with_file_name(name);
    // Left by a process of this number that was killed here.
    let _ = fs::remove_file(&hidden);
    bind(&socket, &Address::of(&hidden)?.short)?;
    let listening = listen_on(&socket, BACKLOG)
        .map_err(io::Error::from)
        .and_then(|()| fs::rename(&hidden, path));
    if let Err(error) = listening {
        let _ = fs::remove_file(&hidden);
        return Err(error);
    }
    let file = SocketFile {
        inode: inode(path),
        path: path.to_owned(),
    };
    Ok((UnixListener::from(socket), file))
}

/// The file of a listening socket. It is removed with this, unless another process has replaced it.
pub struct SocketFile {
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.inode.is_some() && inode(&self.path) == self.inode {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    let file = fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

fn refuse_taken(path: &Path) -> io::Result<()> {
    // A listener whose queue is full is there as well, and must not be waited for.
    let socket = socket(SocketFlags::NONBLOCK)?;
    let address = match Address::of(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(io::Error::new(
                ErrorKind::NotFound,
                format!("the folder of {} does not exist", path.display()),
            ))
        }
        address => address?,
    };
    match connect_to(&socket, &address.short).map_err(|error| error.kind()) {
        Err(ErrorKind::NotFound) => Ok(()),
        Err(ErrorKind::ConnectionRefused) if is_socket(path) => Ok(()),
        Ok(()) | Err(ErrorKind::WouldBlock) => Err(io::Error::new(
            ErrorKind::AddrInUse,
            format!("another process listens at {}", path.display()),
        )),
        Err(kind) => Err(io::Error::new(
            kind,
            format!("{} cannot be used as a socket: {kind}", path.display()),
        )),
    }
}

/// A file of another kind is refused like a socket that nobody listens at, and is not ours.
fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

fn socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    let (family, flags) = (AddressFamily::UNIX, flags | SocketFlags::CLOEXEC);
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

/// A path as the system takes it. One that is too long is reached through its folder's descriptor.
struct Address {
    short: SocketAddrUnix,
    /// What `short` may go through.
    _folder: Option<OwnedFd>,
}

impl Address {
    fn of(path: &Path) -> io::Result<Self> {
        let invalid = |reason: &str| {
            io::Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "{} cannot be the path of a socket: {reason}",
                    path.display()
                ),
            )
        };
        let name = path
            .file_name()
            .ok_or_else(|| invalid("it has no file name"))?;
        if path.as_os_str().len() <= MAX_ADDRESS_BYTES {
            return Ok(Self {
                short: SocketAddrUnix::new(path)?,
                _folder: None,
            });
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(folder, flags, Mode::empty())?;
        let short = Path::new("/proc/self/fd")
            .join(folder.as_raw_fd().to_string())
            .join(name);
        if short.as_os_str().len() > MAX_ADDRESS_BYTES {
            return Err(invalid("its file name is too long; choose a shorter one"));
        }
        Ok(Self {
            short: SocketAddrUnix::new(&short)?,
            _folder: Some(folder),
        })
    }
}
