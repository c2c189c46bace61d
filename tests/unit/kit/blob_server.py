# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry of a few lines on loopback that can be told to behave badly, for what a real one never does on demand."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

FILEPATH = "org.cncf.model.filepath"
RAW = "application/vnd.cncf.model.weight.v1.raw"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclasses.dataclass
class Asked:
    """One request."""

    path: str
    query: str
    headers: Mapping[str, str]

    @property
    def start(self) -> int:
        """First byte of the Range."""
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])

    @property
    def digest(self) -> str:
        return self.path.rpartition("/")[2]


@dataclasses.dataclass
class Reply:
    """An answer. ``cut`` ends the connection after so many bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cut: int | None = None


class BlobServer:
    """Serves what is in ``content`` (by digest), with ranges; ``rule`` sees each request first and may answer it."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.rule: Callable[[Asked], Reply | None] = lambda asked: None
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                asked = Asked(parts.path, parts.query, dict(self.headers))
                owner.asked.append(asked)
                self.reply(owner.rule(asked) or owner.serve(asked))

            def reply(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # who asked may have heard enough
                    self.wfile.write(reply.body if reply.cut is None else reply.body[: reply.cut])
                if reply.cut is not None:
                    self.close_connection = True
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_WR)  # an end before its time; what was sent arrives

            def log_message(self, *_arguments: object) -> None:
                """Silence."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self) -> BlobServer:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def blobs(self) -> list[Asked]:
        """The requests for blobs."""
        return [asked for asked in self.asked if "/blobs/" in asked.path]

    def serve(self, asked: Asked) -> Reply:
        """What a good registry answers."""
        body = self.content.get(asked.digest)
        if body is None:
            return Reply(404)
        if "Range" not in asked.headers:
            return Reply(200, body)
        if asked.start >= len(body):
            return Reply(416)
        where = f"bytes {asked.start}-{len(body) - 1}/{len(body)}"
        return Reply(206, body[asked.start :], {"Content-Range": where})

    # ---- artifacts --------------------------------------------------------------------------------------------------
    def put(self, layers: Sequence[tuple[str, bytes, str]] = (), rows: Sequence[Mapping[str, Any]] = ()) -> str:
        """An artifact of (name, content, media type), and of *rows* as they are; its reference."""
        made = [
            {"mediaType": media, **self.blob(content), "annotations": {FILEPATH: name}}
            for name, content, media in layers
        ]
        return self.put_manifest({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [*made, *rows]})

    def put_manifest(self, manifest: Any) -> str:
        """Its reference."""
        body = json.dumps(manifest).encode()
        self.content[sha256(body)] = body
        return f"{self.name}/models/m@{sha256(body)}"

    def blob(self, content: bytes) -> dict[str, Any]:
        """Keep a blob; its digest and size."""
        self.content[sha256(content)] = content
        return {"digest": sha256(content), "size": len(content)}
