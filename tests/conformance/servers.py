"""The three servers, each on a free port of the loopback interface."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

READY_WITHIN = 60  # seconds


@contextlib.contextmanager
def running(binary):
    """Yields {name: endpoint}, and ends the servers afterwards."""
    tools = pathlib.Path(sys.executable).parent
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        endpoints = {"turnstile": stack.enter_context(turnstile(binary))}
        for name, command, settings in (
            ("moto", lambda port: [tools / "moto_server", "-H", "127.0.0.1", "-p", str(port)], {}),
            (
                "ministack",
                lambda port: [tools / "ministack"],
                {"BIND_HOST": "127.0.0.1", "STATE_DIR": folder, "HOME": folder},
            ),
        ):
            port = free_port()
            environment = os.environ | settings | {"GATEWAY_PORT": str(port)}
            process = subprocess.Popen(
                list(map(str, command(port))),
                env=environment,
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.callback(end, process)
            endpoints[name] = f"http://127.0.0.1:{port}"
            wait_until_answering(name, process, endpoints[name])
        yield endpoints


@contextlib.contextmanager
def turnstile(binary):
    process = subprocess.Popen(
        [binary, "local-queue", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        greeting = process.stdout.readline()
        endpoint = re.search(r"http://127\.0\.0\.1:\d+", greeting)
        if endpoint is None:
            raise SystemExit("conformance: turnstile local-queue did not start")
        yield endpoint.group()
    finally:
        end(process)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_answering(name, process, endpoint):
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(endpoint, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise SystemExit(f"conformance: {name} did not start")


def end(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
