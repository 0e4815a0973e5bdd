"""Stands where `ssh` would on PATH: the remote command runs on this machine, in a process of its own with an environment of its own.

As with ssh and sshd: the command's input ends when this process does, however that comes about; a command that a signal ends gives 255.
"""

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
        sys.stdin.buffer.read()
        assert remote.stdin is not None
        remote.stdin.close()

    threading.Thread(target=relay, daemon=True).start()
    code = remote.wait()
    # Without waiting for the thread.
    os._exit(255 if code < 0 else code)


if __name__ == "__main__":
    main()
