//! Addresses as people write them: HOST:PORT, [IPV6]:PORT, or :PORT for all interfaces of a
//! machine.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

const BACKLOG: i32 = 1024;

/// Listens at an address. Without a host, or at [::], it can be reached by IPv4 and IPv6.
pub async fn listen(address: &str) -> io::Result<TcpListener> {
    let port = address
        .strip_prefix(':')
        .or_else(|| address.strip_prefix("[::]:"));
    match port {
        Some(port) => listen_on_all(number(port)?),
        None => TcpListener::bind(address).await,
    }
}

/// The addresses to try, in order, to reach the service that listens at `address`.
pub fn targets(address: &str) -> io::Result<Vec<SocketAddr>> {
    match address.strip_prefix(':') {
        Some(port) => {
            let port = number(port)?;
            Ok(vec![
                (Ipv4Addr::LOCALHOST, port).into(),
                (Ipv6Addr::LOCALHOST, port).into(),
            ])
        }
        None => Ok(address.to_socket_addrs()?.collect()),
    }
}

/// The address to dial on this machine to reach a socket that is bound to `bound`.
pub fn dialable(bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() {
        // The same for [::], which accepts IPv4 too.
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), bound.port())
    } else {
        bound
    }
}

fn number(port: &str) -> io::Result<u16> {
    port.parse().map_err(|_| {
        io::Error::new(
            ErrorKind::InvalidInput,
            format!("{port:?} is not a port; wanted a number from 0 to 65535"),
        )
    })
}

fn listen_on_all(port: u16) -> io::Result<TcpListener> {
    let listener = match both_families(port) {
        // The machine may not have IPv6.
        Err(error) if error.kind() != ErrorKind::AddrInUse => {
            std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?
        }
        other => other?,
    };
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn both_families(port: u16) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    // The system's default may be to accept IPv6 only.
    socket.set_only_v6(false)?;
    // A restarted service does not wait until the connections of its predecessor time out.
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn has_ipv6() -> bool {
        std::net::TcpListener::bind("[::1]:0").is_ok()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    }

    #[test]
    fn every_form_can_be_dialled_at_what_the_port_file_says() {
        let runtime = runtime();
        let mut forms = vec![":0", "127.0.0.1:0", "localhost:0", "0.0.0.0:0"];
        if has_ipv6() {
            forms.extend(["[::1]:0", "[::]:0"]);
        }
        for form in forms {
            let listener = runtime.block_on(listen(form)).expect("listening");
            let bound = listener.local_addr().expect("bound");
            let dialled = dialable(bound);
            assert!(!dialled.ip().is_unspecified(), "{form}");
            TcpStream::connect(dialled).expect("it listens there");
            let everywhere = [":0", "[::]:0"].contains(&form);
            if everywhere && has_ipv6() {
                TcpStream::connect((Ipv6Addr::LOCALHOST, bound.port())).expect("IPv6 too");
            }
            let again =
                runtime.block_on(listen(&form.replace(":0", &format!(":{}", bound.port()))));
            assert_eq!(
                again.expect_err("taken").kind(),
                ErrorKind::AddrInUse,
                "{form}"
            );
        }
    }

    #[test]
    fn a_port_alone_is_dialled_on_this_machine() {
        let found = targets(":9091").expect("valid");
        assert_eq!(found[0], "127.0.0.1:9091".parse().expect("valid"));
        assert_eq!(found[1], "[::1]:9091".parse().expect("valid"));
        let one = targets("[::1]:80").expect("valid");
        assert_eq!(one, ["[::1]:80".parse().expect("valid")]);
    }

    #[test]
    fn an_invalid_address_is_refused() {
        let runtime = runtime();
        for wrong in [":", ":x", ":70000", "9090", "[::]:", ""] {
            assert!(runtime.block_on(listen(wrong)).is_err(), "{wrong}");
            assert!(targets(wrong).is_err(), "{wrong}");
        }
    }
}
