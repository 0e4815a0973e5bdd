"""A private /run for a process: systemd-analyze makes a folder there, and the sandbox of a test has it read-only."""

from __future__ import annotations

import ctypes
import os
import sys

_LIBC = ctypes.CDLL(None, use_errno=True)


def own_run() -> None:
    """Gives the calling process an empty /run in namespaces of its own; call it between fork and exec.

    Raises:
        OSError: the kernel does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{file}", "w") as stream:
            stream.write(text)
    if _LIBC.mount(b"none", b"/run", b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "cannot mount a tmpfs on /run")


if __name__ == "__main__":
    own_run()
    os.execv(sys.argv[1], sys.argv[1:])
