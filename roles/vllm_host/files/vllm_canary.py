# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks vLLM on this host for tokens and says whether it got them: ``python vllm_canary.py CONFIG.json``.

vLLM's own /health is 200 for ever while its engine is frozen; only a request that ends with all its tokens proves life.

* /readyz: 200, or 503 and the reason. Red until the first success; red at once when nobody listens; red after
  ``failures`` in a row.
* /metrics for Prometheus; /coldstart: how long the stages of the last start took.
* Who is busy is not asked: when tokens were generated since the last turn, the engine lives.
* After ``failures`` in a row it asks for a restart by touching a file that a systemd path unit watches, at most once in
  ``restart_rest`` seconds. A refused connection, or an answer that is the canary's own fault (4xx), restarts nothing.

The key comes from VLLM_API_KEY. Standard library only; the licence of a vGPU is told where ``pynvml`` can be imported.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

TOKENS = re.compile(rb"^vllm:generation_tokens_total(?:\{[^}]*\})? ([0-9.eE+-]+)\s*$", re.MULTILINE)
#: Seconds between two turns while nobody listens: it is a start, and costs one refused connection.
HURRY = 1.0


class Failure(Exception):
    """A request that did not end as it should; ``guilty``: the engine is to blame, so a restart may help."""

    def __init__(self, reason: str, guilty: bool = True) -> None:
        super().__init__(reason)
        self.guilty = guilty


class Down(Exception):
    """Nobody listens: a start, a stop or a crash, which systemd takes care of."""


class Engine:
    """vLLM on this host, a connection a question. Its certificate may have other names than this address: unchecked."""

    def __init__(self, config: dict) -> None:
        self._config = config
        parts = urlsplit(config["url"])
        self._address = (parts.hostname, parts.port)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self._tls = parts.scheme == "https"
        self._key = os.environ.get("VLLM_API_KEY", "")

    def generated(self) -> float | None:
        """The tokens generated since its start; None when it does not count them."""
        found = TOKENS.findall(self._ask("GET", "/metrics", None))
        return sum(map(float, found)) if found else None

    def tokens(self) -> None:
        """One request that has to end with all its tokens; always another prompt, so that no cache answers."""
        wanted = self._config["tokens"]
        body = {
            "model": self._config["model"],
            "prompt": f"canary {random.getrandbits(64):x}: one, two,",
            "max_tokens": wanted,
        }
        body.update(min_tokens=wanted, ignore_eos=True, temperature=0.7)
        try:
            answer = json.loads(self._ask("POST", "/v1/completions", json.dumps(body).encode()))
            got, finish = answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]
        except (ValueError, LookupError, TypeError):
            raise Failure("the answer to a completion cannot be understood") from None
        if got != wanted or finish not in ("length", "stop"):
            raise Failure(f"{got} of {wanted} tokens, finish reason {finish}")

    def version(self) -> str:
        try:
            return str(json.loads(self._ask("GET", "/version", None))["version"])
        except (Failure, Down, ValueError, LookupError, TypeError):
            return ""

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        connection = self._connection()
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
        except ConnectionRefusedError:
            raise Down from None
        except TimeoutError:
            raise Failure(f"no whole answer to {path} within {self._config['deadline']:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            raise Failure(f"{path} was cut: {type(error).__name__}") from None
        finally:
            connection.close()
        if response.status != 200:
            raise Failure(f"{path} answered {response.status}", guilty=response.status >= 500)
        return content

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._address
        if self._tls:
            return http.client.HTTPSConnection(host, port, timeout=self._config["deadline"], context=self._context)
        return http.client.HTTPConnection(host, port, timeout=self._config["deadline"])


class Canary:
    """What is known; the loop writes it, the server's threads read it."""

    def __init__(self, config: dict, engine: Engine | None = None) -> None:
        self._config = config
        self._engine = engine or Engine(config)
        self._baseline: float | None = None
        self.ready = False
        self.success = False
        self.reason = "no request has succeeded yet"
        self.failures = 0
        self.seconds = 0.0
        self.licensed: bool | None = None

    def turn(self) -> float:
        """One turn; returns the seconds until the next."""
        try:
            if self._alive_anyway():
                self.failures, self.reason = 0, "ok"
            else:
                began = time.monotonic()
                self._engine.tokens()
                self.seconds = time.monotonic() - began
                self._succeeded()
            self.success = True
        except Down:
            # The failures before count for nothing: it is another process that will answer next.
            self.success = self.ready = False
            self.failures, self.reason = 0, "nobody listens: starting, stopped or dead"
            return min(HURRY, self._config["interval"])
        except Failure as failure:
            self._failed(failure)
        self.licensed = licensed()
        return self._config["interval"]

    def _alive_anyway(self) -> bool:
        """Whether tokens were generated since the last turn. A red one has to prove itself by a request of its own."""
        now = self._engine.generated()
        before, self._baseline = self._baseline, now
        return self.ready and now is not None and before is not None and now > before

    def _succeeded(self) -> None:
        # Its own tokens are no proof for the next turn, also when they are counted late.
        after = self._engine.generated()
        if self._baseline is not None and after is not None:
            self._baseline = max(after, self._baseline + self._config["tokens"])
        first, self.ready, self.failures, self.reason = not self.ready, True, 0, "ok"
        if first and self._config.get("record"):
            try:
                subprocess.run([*self._config["record"], self._engine.version()], check=False, timeout=60)
            except (OSError, subprocess.TimeoutExpired) as error:
                say(f"the cold start could not be recorded: {error}")

    def _failed(self, failure: Failure) -> None:
        self.success = False
        self.failures += 1
        self.reason = f"{failure}; {self.failures} in a row"
        say(self.reason)
        if self.failures < self._config["failures"]:
            return
        self.ready = False
        if failure.guilty:
            self._restart()

    def _restart(self) -> None:
        path, rest = self._config["restart_file"], self._config["restart_rest"]
        try:
            age = time.time() - os.stat(path).st_mtime
        except FileNotFoundError:
            age = None
        if age is not None and 0 <= age < rest:
            self.reason += f"; restarted {age:.0f} s ago, not again within {rest:g} s"
            return
        self.reason += "; a restart is asked for"
        say(self.reason)
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.reason + "\n")

    def metrics(self) -> str:
        rows = [
            ("vllm_canary_success", "Whether the last turn found tokens.", [("", int(self.success))]),
            ("vllm_canary_failures_in_a_row", "Turns that failed since the last success.", [("", self.failures)]),
            ("vllm_canary_seconds", "How long the last request of the canary took.", [("", self.seconds)]),
        ]
        stages = [(f'{{stage="{row["stage"]}"}}', row["seconds"]) for row in self.coldstart().get("stages", [])]
        if stages:
            rows.append(("vllm_coldstart_stage_seconds", "How long the stages of the last start took.", stages))
        if self.licensed is not None:
            rows.append(("vllm_gpu_licensed", "Whether each vGPU has its licence.", [("", int(self.licensed))]))
        lines = []
        for name, text, values in rows:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
            lines += [f"{name}{labels} {value:g}" for labels, value in values]
        return "\n".join(lines) + "\n"

    def coldstart(self) -> dict:
        try:
            with open(self._config["coldstart_file"], encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return {}


def licensed() -> bool | None:
    """Whether all vGPUs have their licence; None where none asks for one, or NVML cannot be asked."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # pylint: disable=broad-except  # no library, no driver, another version of either
        return None
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            features = pynvml.nvmlDeviceGetGridLicensableFeatures_v4(handle)
            count = features.licensableFeaturesCount if features.isGridLicenseSupported else 0
            rows = [features.gridLicensableFeatures[row] for row in range(count)]
            is_vgpu = pynvml.nvmlDeviceGetVirtualizationMode(handle) == pynvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU
            asking = [row for row in rows if row.featureEnabled] or (rows if is_vgpu else [])
            found += [any(row.featureState for row in asking)] if asking else []
        return all(found) if found else None
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def server(canary: Canary, address: str, port: int) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            if self.path == "/readyz":
                self._answer(200 if canary.ready else 503, f"{canary.reason}\n")
            elif self.path == "/metrics":
                self._answer(200, canary.metrics(), "text/plain; version=0.0.4; charset=utf-8")
            elif self.path == "/coldstart":
                self._answer(200, json.dumps(canary.coldstart() or {"stages": []}), "application/json")
            else:
                self._answer(404, "There is /readyz, /metrics and /coldstart.\n")

        def _answer(self, status: int, text: str, kind: str = "text/plain; charset=utf-8") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Monitors ask every few seconds."""

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        daemon_threads = True

    return Server((address, port), Handler)


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    canary = Canary(config)
    serving = server(canary, config["address"], config["port"])
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    while True:
        time.sleep(canary.turn())


if __name__ == "__main__":
    main()
