"""A stand-in for `ssh` on PATH: runs the remote command on this machine, in another session with few variables.

As with ssh and sshd, the command's input is that of this process and ends when this process ends, for whatever reason,
and the exit code is 255 if a signal ended the command.
"""

import contextlib
import os
import subprocess
import sys
import threading

OWN = ("PATH", "HOME", "GATE_STEP", "GATE_DIR")


def main() -> None:
    """Usage: fake_ssh.py [-o OPTION]... HOST COMMAND."""
    words = sys.argv[1:]
    while words[0] == "-o":
        words = words[2:]
    _host, command = words
    environment = {name: value for name, value in os.environ.items() if name in OWN}
    remote = subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, env=environment, start_new_session=True)

    def relay() -> None:
        assert remote.stdin is not None
        # A remote process need not read its input, and may have ended.
        with contextlib.suppress(BrokenPipeError):
            while data := os.read(sys.stdin.fileno(), 1 << 16):
                remote.stdin.write(data)
                remote.stdin.flush()
            remote.stdin.close()

    threading.Thread(target=relay, daemon=True).start()
    code = remote.wait()
    # Does not wait for the thread, which may block in read() forever.
    os._exit(255 if code < 0 else code)


if __name__ == "__main__":
    main()
