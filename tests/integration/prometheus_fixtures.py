# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Prometheus and Alertmanager servers on free ports, and a small exporter for them to scrape.

A test file takes the fixtures at the end by name: ``server = kit.server``, and those that it stands on.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import debs

Run = Callable[..., dict[str, Any]]
PROMETHEUS_YML = """\
# The configuration of somebody else: comments, spacing and order are theirs.
global:
  scrape_interval: 1s   # quick
  evaluation_interval: 1s
rule_files:
  - "rules/*.yml"

scrape_configs:
  # Prometheus itself
  - job_name: 'self'
    static_configs:
    - targets: ["127.0.0.1:1"]   # nobody there


# the end
"""
ALERTMANAGER_YML = """\
# somebody else's
route:
  receiver: people    # the default
  group_by: [alertname]
  routes:
  - receiver: people
    matchers: ['team="x"']

receivers:
- name: people
"""


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A running server with its configuration file in a folder of its own."""

    def __init__(self, command: list[str], folder: Path, config: Path, url: str, ready: str) -> None:
        self.command, self.folder, self.config, self.url, self.ready = command, folder, config, url, ready
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it is ready; a server that ends instead shows its log."""
        log = self.folder / "server.log"
        with log.open("ab") as stream:
            self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=stream, stderr=stream)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), urllib.request.urlopen(self.url + self.ready, timeout=2):
                return
            time.sleep(0.1)
        self.stop()
        raise AssertionError(f"{self.command[0]} did not become ready:\n{log.read_text()[-3000:]}")

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def get(self, path: str) -> Any:
        """Decoded JSON of an API call."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def leftovers(self) -> list[str]:
        """Temporary files, locks and journals that should not be there."""
        return [
            path.name
            for path in self.folder.rglob("*")
            if path.name.endswith((".tmp", ".lock", ".last-good")) and "data" not in path.parts
        ]


def _run(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def prometheus(
    folder: Path, config: str = PROMETHEUS_YML, binaries: Path | None = None, lifecycle: bool = True
) -> Iterator[Server]:
    """A Prometheus; *binaries* is a folder with another version of ``prometheus``."""
    program = str(binaries / "prometheus") if binaries else str(debs.binary("prometheus"))
    (folder / "rules").mkdir(exist_ok=True)
    path = folder / "prometheus.yml"
    path.write_text(config)
    port = free_port()
    command = [
        program,
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        *(["--web.enable-lifecycle"] if lifecycle else []),
    ]
    yield from _run(Server(command, folder, path, f"http://127.0.0.1:{port}", "/-/ready"))


@contextlib.contextmanager
def alertmanager(folder: Path, config: str = ALERTMANAGER_YML) -> Iterator[Server]:
    """An Alertmanager without a cluster."""
    path = folder / "alertmanager.yml"
    path.write_text(config)
    port = free_port()
    command = [
        str(debs.binary("alertmanager")),
        f"--config.file={path}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    yield from _run(Server(command, folder, path, f"http://127.0.0.1:{port}", "/-/ready"))


class Exporter:
    """``/metrics`` on a free port, or a given one; ``scrapes`` counts the requests."""

    def __init__(self, port: int = 0) -> None:
        exporter = self
        self.scrapes = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                exporter.scrapes += 1
                body = b"# TYPE up_and_well gauge\nup_and_well 1\n"
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                """Be quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self.server.shutdown()
        self.server.server_close()


def refusing_tool(folder: Path, name: str, words: str) -> Path:
    """A stand-in for promtool or amtool that refuses everything."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    path.chmod(0o755)
    return path


def accepting_tool(folder: Path, name: str) -> Path:
    """A stand-in that accepts everything, so that the server itself has to refuse."""
    path = folder / name
    shutil.copy("/bin/true", path)
    path.chmod(0o755)
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with prometheus(tmp_path) as running:
        yield running


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    running = Exporter()
    yield running
    running.close()


@pytest.fixture
def common(server: Server) -> dict[str, Any]:
    return {
        "url": server.url,
        "config_file": str(server.config),
        "promtool": str(debs.binary("promtool")),
        "wait_interval": 0.2,
    }


def job_args(server: Server, common: dict[str, Any], **job: Any) -> dict[str, Any]:
    path = server.folder / "autoscale" / "targets" / "web.json"
    body = {
        "scrape_interval": "1s",
        "file_sd_configs": [{"files": [str(path)], "refresh_interval": "1s"}],
        **job,
    }
    return {**common, "name": "web", "job": body}
