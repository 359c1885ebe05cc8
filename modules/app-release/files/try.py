"""Starts a release on a socket of its own, as systemd would, and asks whether it answers.

Arguments: the path to ask for, the host to ask for, how long to wait (`1m30s`), the statuses that will do (`200 204`; 200 to
399 if empty), and the command line. Ends with 0 once the release has answered, else with 1 and what it said.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text):
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|[smhd])", text))


def ask(address, path, host):
    """The status line of the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(address)
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while len(answer) < 4096 and (part := connection.recv(4096)):
            answer += part
        head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
        return head.partition("\r\n")[0], body[:500].strip()


def will_do(status, expected):
    words = status.split()
    if len(words) < 2 or not words[1].isdigit():
        return False
    return words[1] in expected if expected else 200 <= int(words[1]) < 400


def start(listener, line, output):
    """The command with the socket as its descriptor 3."""
    os.dup2(listener.fileno(), 3)
    shell = 'LISTEN_FDS=1 LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; exec ' + line
    return subprocess.Popen(
        ["/bin/sh", "-c", shell], stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=(3,), start_new_session=True
    )


def stop(process):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


def wait(process, address, path, host, end, expected):
    """None once it answers as it should, else why it does not."""
    why = "it did not answer in time"
    while time.monotonic() < end:
        if process.poll() is not None:
            return f"it ended with {process.returncode}"
        try:
            status, body = ask(address, path, host)
            if will_do(status, expected):
                return None
            why = f"it answers {path} with {status}: {body}"
        except OSError as error:
            why = f"it does not answer {path}: {error}"
        time.sleep(0.2)
    return why


def main():
    path, host, patience, expected, line = sys.argv[1:]
    # Nothing else may become descriptor 3.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 3)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        address = os.path.join(folder, "socket")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen(64)
        process = start(listener, line, output)
        try:
            why = wait(process, address, path, host, time.monotonic() + seconds(patience), expected.split())
        finally:
            stop(process)
        if why is None:
            return 0
        output.seek(0, os.SEEK_END)
        output.seek(max(0, output.tell() - 8192))
        print(output.read().decode("utf-8", "replace"), end="")
        print(f"the release was tried on a socket of its own: {why}")
        return 1


sys.exit(main())
