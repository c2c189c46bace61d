# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Loki for molecule's hosts, a gate before it, and a file server for archives and packages.

``python -m lab.logstore up NAME --port P`` starts three parts and prints where they are; ``down NAME`` ends them.

========  ====  =====================================================================================================
Loki      P     on loopback; tenants by X-Scope-OrgID, no authentication. Tests read lines back here.
gate      P+1   on the hosts' bridge: what agents see. TLS with client certificates, and Basic, by option. Closing it is
                "Loki is away", and it opens again at once, where a Loki takes seconds to start.
files     P+2   on the hosts' bridge: everything below the store's folder ``files`` by HTTP.
========  ====  =====================================================================================================
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import http.client
import http.server
import json
import shutil
import ssl
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import trustme
import yaml

from .build import BuildError, build_go
from .hosts import network
from .process import LabError, Part, answers, port_holder

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "lab" / f"logstore-{network.INDEX}"
#: What OTLP's resource attributes must be named in to become labels; README of the role log_agent has the same lines.
LABELS = ("group", "member", "job", "unit", "tier")
HOP_BY_HOP = {"connection", "host", "keep-alive", "transfer-encoding", "content-length"}


class Store:
    """One Loki with its gate and files, by name; the record of how it was started is in its folder."""

    def __init__(self, name: str) -> None:
        self.folder = FOLDER / name
        self.files = self.folder / "files"
        self.record = self.folder / "store.json"

    def part(self, name: str) -> Part:
        return Part(name, self.folder / "run", self.folder / "logs")

    def options(self) -> dict[str, Any]:
        return json.loads(self.record.read_text())

    def up(self, port: int, tls: bool, authorization: str) -> dict[str, Any]:
        """Start all three anew, with nothing in the store.

        :param authorization: what a request's header must be; empty lets everybody in.
        """
        binary = build_go("loki")
        self.down()
        self.files.mkdir(parents=True)
        made = certificates(self.folder / "tls") if tls else {}
        row = {"port": port, "address": network.GATEWAY, "tls": made, "authorization": authorization}
        self.record.write_text(json.dumps(row))
        for number in (port, port + 1, port + 2):
            holder = port_holder(number)
            if holder:
                raise LabError(f"port {number} is taken by {holder}; end it, or take another with --port")
        config = self.folder / "loki.yaml"
        config.write_text(yaml.safe_dump(loki_config(self.folder / "data", port)))
        loki = self.part("loki")
        loki.start([str(binary), f"-config.file={config}"])
        files = self.part("files")
        server = ["-m", "http.server", str(port + 2), "--bind", network.GATEWAY, "--directory", str(self.files)]
        files.start([sys.executable, *server])
        self.open()
        # It takes lines at once; questions some 10 s later, as /ready would say. Nobody asks before a role has run.
        loki.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/loki/api/v1/status/buildinfo"), 60)
        files.wait_ready(lambda: answers(f"http://{network.GATEWAY}:{port + 2}/"))
        return {
            "loki": f"http://127.0.0.1:{port}",
            "gate": f"{'https' if tls else 'http'}://{network.GATEWAY}:{port + 1}",
            "files": f"http://{network.GATEWAY}:{port + 2}",
            "folder": str(self.files),
            "tls": made,
        }

    def open(self) -> None:
        """Let agents in."""
        gate = self.part("gate")
        if gate.pid() is None:
            gate.start([sys.executable, "-m", "lab.logstore", "serve", self.folder.name], cwd=ROOT / "tests")
        port = self.options()["port"] + 1
        gate.wait_ready(lambda: port_holder(port) is not None)

    def close(self) -> None:
        """Loki is away."""
        self.part("gate").stop()

    def down(self) -> None:
        for name in ("gate", "files", "loki"):
            self.part(name).stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def loki_config(folder: Path, port: int) -> dict[str, Any]:
    """The smallest that keeps lines on disk, believes each tenant's name, and takes lines at once."""
    schema = {
        "from": "2024-01-01",
        "store": "tsdb",
        "object_store": "filesystem",
        "schema": "v13",
        "index": {"prefix": "index_", "period": "24h"},
    }
    return {
        "auth_enabled": True,
        "analytics": {"reporting_enabled": False},
        "server": {
            "http_listen_address": "127.0.0.1",
            "http_listen_port": port,
            "grpc_listen_address": "127.0.0.1",
            "grpc_listen_port": port + 3,
            "log_level": "warn",
        },
        "common": {
            "path_prefix": str(folder),
            "replication_factor": 1,
            "instance_addr": "127.0.0.1",
            "ring": {"instance_addr": "127.0.0.1", "kvstore": {"store": "inmemory"}},
            "storage": {
                "filesystem": {"chunks_directory": str(folder / "chunks"), "rules_directory": str(folder / "rules")}
            },
        },
        "ingester": {"lifecycler": {"min_ready_duration": "0s", "final_sleep": "0s"}},
        "schema_config": {"configs": [schema]},
        "limits_config": {
            "otlp_config": {
                "resource_attributes": {"attributes_config": [{"action": "index_label", "attributes": list(LABELS)}]}
            }
        },
    }


def certificates(folder: Path) -> dict[str, str]:
    """An authority, a certificate of the gate and one for the agents, as PEM files."""
    folder.mkdir(parents=True, mode=0o700)
    authority = trustme.CA(organization_name="onprem.autoscale lab")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, issued in (("gate", authority.issue_cert(network.GATEWAY)), ("agent", authority.issue_cert("agent.lab"))):
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        (folder / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return {
        path.name.replace(".", "_").removesuffix("_pem"): str(path)
        for path in sorted(folder.iterdir())
        if path.suffix in {".pem", ".key"}
    }


# ---- the gate --------------------------------------------------------------------------------------------------------
class Gate(http.server.BaseHTTPRequestHandler):
    """Hands on what is authorized."""

    protocol_version = "HTTP/1.1"
    port = 0
    authorization = ""

    def do_POST(self) -> None:
        body = self._body()
        if self.authorization and self.headers.get("Authorization") != self.authorization:
            self._answer(401, b"who are you?\n", "text/plain")
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            upstream.request(self.command, self.path, body, headers)
            response = upstream.getresponse()
            self._answer(response.status, response.read(), response.getheader("Content-Type", "text/plain"))
        except OSError as error:
            self._answer(502, f"{error}\n".encode(), "text/plain")
        finally:
            upstream.close()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(store: Store) -> None:
    """Be the gate until killed."""
    row = store.options()
    Gate.port, Gate.authorization = row["port"], row["authorization"]
    server = http.server.ThreadingHTTPServer((row["address"], row["port"] + 1), Gate)
    if row["tls"]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=row["tls"]["ca"])
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(row["tls"]["gate"], row["tls"]["gate_key"])
        # The handshake happens in the handler's thread, so that one bad client does not stop the others.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


# ---- what the role installs ------------------------------------------------------------------------------------------
def pack(store: Store, program: str, member: str) -> dict[str, str]:
    """A release archive of a program of lab.build; the same program gives the same checksum."""
    target = store.files / f"{program}.tar.gz"
    row = tarfile.TarInfo(member)
    binary = build_go(program)
    row.size, row.mode = binary.stat().st_size, 0o755
    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
        binary.open("rb") as content,
    ):
        archive.addfile(row, content)
    return {"path": str(target), "checksum": "sha256:" + hashlib.sha256(target.read_bytes()).hexdigest()}


def share(store: Store, program: str) -> dict[str, str]:
    """The program itself among the files."""
    target = store.files / program
    shutil.copy(build_go(program), target)
    return {"path": str(target)}


def package(store: Store, program: str, version: str) -> dict[str, str]:
    """A Debian package of a program, in a repository ``deb [trusted=yes] <files>/debian ./``.

    As its maker's it has a service of its own name, which starts as soon as it is installed.
    """
    repository, tree = store.files / "debian", store.folder / f"{program}-{version}"
    for path, text in {
        "DEBIAN/control": f"Package: {program}\nVersion: {version}\nArchitecture: {architecture()}\n"
        f"Maintainer: lab <lab@example.org>\nDescription: {program} of the lab\n",
        "DEBIAN/postinst": f"#!/bin/sh\nsystemctl enable --now {program}.service || :\n",
        f"usr/lib/systemd/system/{program}.service": f"[Service]\nExecStart=/bin/sleep infinity\n"
        f"# {program}'s own\n[Install]\nWantedBy=multi-user.target\n",
    }.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    (tree / "DEBIAN" / "postinst").chmod(0o755)
    (tree / "usr" / "bin").mkdir()
    shutil.copy(build_go(program), tree / "usr" / "bin" / program)
    repository.mkdir(exist_ok=True)
    target = repository / f"{program}_{version}.deb"
    subprocess.run(
        ["dpkg-deb", "--build", "--root-owner-group", "-Znone", tree, target], check=True, capture_output=True
    )
    shutil.rmtree(tree)
    with (repository / "Packages").open("a") as index:
        control = subprocess.run(["dpkg-deb", "--field", target], check=True, capture_output=True, text=True).stdout
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        index.write(f"{control}Filename: ./{target.name}\nSize: {target.stat().st_size}\nSHA256: {digest}\n\n")
    return {"path": str(target), "version": version}


def architecture() -> str:
    return subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.logstore", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start all three; prints their addresses as JSON")
    up.add_argument("name")
    up.add_argument("--port", type=int, default=3101, help="of Loki in lab 0; the next three are taken too")
    up.add_argument("--tls", action="store_true", help="the gate speaks TLS and asks for a client certificate")
    up.add_argument("--basic", metavar="NAME:PASSWORD", help="the gate wants them")
    for name, words in (
        ("open", "let agents in"), ("close", "Loki is away"), ("down", "stop all three"), ("serve", "be the gate"),
    ):  # fmt: skip
        commands.add_parser(name, help=words).add_argument("name")
    for name, words, last in (
        ("share", "a program as it is", ()),
        ("pack", "a .tar.gz of a program", ("member",)),
        ("package", "a Debian package of a program, in a repository", ("version",)),
    ):
        command = commands.add_parser(name, help=f"{words}; prints its path as JSON")
        for argument in ("name", "program", *last):
            command.add_argument(argument)
    arguments = parser.parse_args()
    store = Store(arguments.name)
    try:
        work(store, arguments)
    except (LabError, BuildError) as error:
        print(f"lab.logstore: {error}", file=sys.stderr)
        return 1
    return 0


def work(store: Store, arguments: argparse.Namespace) -> None:
    match arguments.command:
        case "up":
            basic = arguments.basic
            header = f"Basic {base64.b64encode(basic.encode()).decode()}" if basic else ""
            print(json.dumps(store.up(arguments.port + 100 * network.INDEX, arguments.tls, header)))
        case "pack":
            print(json.dumps(pack(store, arguments.program, arguments.member)))
        case "package":
            print(json.dumps(package(store, arguments.program, arguments.version)))
        case "share":
            print(json.dumps(share(store, arguments.program)))
        case "serve":
            serve(store)
        case command:
            {"open": store.open, "close": store.close, "down": store.down}[command]()


if __name__ == "__main__":
    sys.exit(main())
