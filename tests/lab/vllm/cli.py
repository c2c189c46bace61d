# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process: start in stages, signals, and the ends that were measured."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

from . import VERSION
from .api import Api
from .engine import Engine
from .http11 import Connection
from .metrics import Metrics
from .options import Environment, parse

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2}
#: Seconds, times VLLM_STUB_PACE. SIGTERM to exit 3.5; an idle worker's end is seen after 5, exit after 12.
TEARDOWN = 3.0
NOTICED, GONE, GONE_BUSY = 5.0, 12.0, 1.0


def main(arguments: list[str] | None = None) -> int:
    """``vllm serve ...``; the exit status."""
    # Before anything else, so that a signal that comes early waits for sigwait() and is not lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    options = parse(sys.argv[1:] if arguments is None else arguments)
    environment = Environment()
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text("VLLM::APIServer")
    server = Server(options, environment)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while True:
        number = signal.sigwait(SIGNALS)
        if server.ended.is_set():
            break
        server.signal(number)
    thread.join()
    return server.status


class Server:
    """One endpoint; everything but :meth:`signal` runs in the event loop's thread."""

    def __init__(self, options: Any, environment: Environment) -> None:
        self.options = options
        self.environment = environment
        self.status = 0
        self.ended = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._connections: set[Connection] = set()
        self._serving: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.metrics = Metrics(options.served_model_name[0], enabled=not options.disable_log_stats)
        self.engine = Engine(self._loop, self.metrics, environment, options.max_num_seqs)
        keys = options.api_key or ([environment.api_key] if environment.api_key else [])
        self.api = Api(options, keys, self.engine, self.metrics, environment.kv_tokens)

    def run(self) -> None:
        """Start, serve, and end; the main thread is woken by a SIGTERM to this process when it ends on its own."""
        try:
            self._loop.run_until_complete(self._main())
        except (OSError, ValueError) as error:
            print(f"ERROR: {error}", file=sys.stderr, flush=True)
            self.status = 1
        finally:
            self.ended.set()
            os.kill(os.getpid(), signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Called by the main thread."""
        with contextlib.suppress(RuntimeError):  # the loop has just ended
            self._loop.call_soon_threadsafe(self._on_signal, number)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGUSR1:
            self.engine.frozen = True
            say("stub: the engine is frozen", "EngineCore")
        elif number == signal.SIGUSR2:
            self._later(self._worker_killed())
        elif self._serving is None:
            self._stop.set()
        elif not self.api.leaving:
            self.api.leaving = True
            self._later(self._leave())

    def _later(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _main(self) -> None:
        bound = self._bind()
        starting = self._loop.create_task(self._start_up())
        stopping = self._loop.create_task(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            return
        starting.result()
        self._serving = await self._loop.create_server(self._connect, sock=bound, ssl=self._tls())
        scheme = "https" if self.options.ssl_certfile else "http"
        say(f"Starting vLLM server on {scheme}://{self.options.host or '0.0.0.0'}:{bound.getsockname()[1]}")
        print(f"INFO:     Started server process [{os.getpid()}]", flush=True)
        print("INFO:     Waiting for application startup.\nINFO:     Application startup complete.", flush=True)
        await stopping

    def _bind(self) -> socket.socket:
        """Bound, not listening: who connects while the engine loads is refused."""
        host = self.options.host
        bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, self.options.port))
        return bound

    def _tls(self) -> ssl.SSLContext | None:
        if not self.options.ssl_certfile:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.options.ssl_certfile, self.options.ssl_keyfile)
        if self.options.ssl_ca_certs:
            context.load_verify_locations(self.options.ssl_ca_certs)
            context.verify_mode = ssl.VerifyMode(self.options.ssl_cert_reqs)
        return context

    def _connect(self) -> Connection:
        return Connection(self.api.handle, self.api.log, self.environment.keep_alive, self._connections)

    async def _start_up(self) -> None:
        """The journal's texts, with their pauses."""
        whole, model = self.environment.load, self.options.model
        # An API key would be in vLLM's own line too.
        given = {
            name: value for name, value in vars(self.options).items() if value and name not in {"command", "api_key"}
        }
        say(f"vLLM API server version {VERSION}")
        say(f"non-default args: {given}")
        await asyncio.sleep(0.3 * whole)
        if model.startswith("/") and not (os.path.isdir(model) and os.listdir(model)):
            raise ValueError(f"Invalid repository ID or local directory specified: '{model}'.")
        say(
            f"Initializing a V1 LLM engine (v{VERSION}) with config: model='{model}', "
            f"served_model_name={self.api.names[0]}",
            "EngineCore",
        )
        await asyncio.sleep(0.1 * whole)
        say(f"Starting to load model {model}...", "EngineCore")
        await asyncio.sleep(0.3 * whole)
        say(f"Loading weights took {0.3 * whole:.2f} seconds", "EngineCore")
        say(f"GPU KV cache size: {self.environment.kv_tokens:,} tokens", "EngineCore")
        await asyncio.sleep(0.25 * whole)
        say(f"init engine (profile, create kv cache, warmup model) took {0.25 * whole:.2f} seconds", "EngineCore")
        await asyncio.sleep(0.05 * whole)

    async def _refuse_connections(self) -> None:
        if self._serving is not None:
            self._serving.close()
        for connection in list(self._connections):
            connection.close_when_idle()

    async def _leave(self) -> None:
        """SIGTERM: with a shutdown timeout what runs is finished while /health says 200; without one it is cut."""
        say(f"Shutdown initiated (timeout={self.options.shutdown_timeout})")
        until = time.monotonic() + self.options.shutdown_timeout
        while self.engine.unfinished and time.monotonic() < until:
            await asyncio.sleep(0.1)
        if self.engine.unfinished or not self.options.shutdown_timeout:
            await self._refuse_connections()
            self.engine.end("abort")
        await asyncio.sleep(TEARDOWN * self.environment.pace)
        await self._refuse_connections()
        print("INFO:     Application shutdown complete.", flush=True)
        self._stop.set()

    async def _worker_killed(self) -> None:
        """SIGUSR2: the engine is dead; who is busy notices at once."""
        busy, pace = bool(self.engine.unfinished), self.environment.pace
        self.engine.dead = True
        say("Worker proc VllmWorker-0 died unexpectedly, shutting down executor.", "EngineCore", "ERROR")
        if busy:
            await self._refuse_connections()
            self.engine.end("error")
            await asyncio.sleep(GONE_BUSY * pace / 2)
        else:
            await asyncio.sleep(NOTICED * pace)
            self.api.errored = True
            await asyncio.sleep((GONE - NOTICED) * pace)
            await self._refuse_connections()
        self._stop.set()


def say(text: str, process: str = "APIServer", level: str = "INFO") -> None:
    """A line of the journal."""
    print(f"({process} pid={os.getpid()}) {level} {time.strftime('%m-%d %H:%M:%S')} [stub.py:1] {text}", flush=True)
