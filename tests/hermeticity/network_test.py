"""A test has its own loopback and nothing else."""

import errno
import socket
from pathlib import Path

import pytest

# Addresses for documentation (RFC 5737, RFC 3849): they belong to nobody, and a machine with a network tries to reach
# them.
OUTSIDE = [(socket.AF_INET, ("192.0.2.1", 80)), (socket.AF_INET6, ("2001:db8::1", 80))]


@pytest.mark.parametrize(("family", "address"), OUTSIDE)
def test_no_outside_address_can_be_reached(family: socket.AddressFamily, address: tuple[str, int]) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        with pytest.raises(OSError, match="unreachable|Cannot assign") as caught:
            connection.connect(address)
    # A timeout would mean that packets had left.
    assert caught.value.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EHOSTUNREACH)


def test_the_loopback_is_the_only_interface() -> None:
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]


def test_no_name_can_be_resolved() -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("example.com", 80)


def test_the_loopback_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
        server.settimeout(5)
        server.accept()[0].close()
