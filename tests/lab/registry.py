# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real OCI registry (Debian's docker-registry, unpacked) for tests and for molecule's hosts.

``python -m lab.registry up NAME --address A --port P [--basic USER:PASSWORD] [--tls]`` prints where it is, as JSON;
``push NAME FOLDER REPOSITORY`` makes an artifact of a folder's files and prints its reference with digest;
``down NAME`` ends it and removes what it held.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bcrypt
import requests
import yaml

from .debs import MissingBinaryError, binary
from .hosts import network
from .process import LabError, Part, port_holder
from .tls import make_tls

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "lab" / f"registry-{network.INDEX}"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
WEIGHTS = "application/vnd.cncf.model.weight.v1.raw"
SETTINGS = "application/vnd.cncf.model.weight.config.v1.raw"
FILEPATH = "org.cncf.model.filepath"
#: Of its access log: method, path, status, bytes of the body.
_LINE = re.compile(r'"(GET|HEAD|PUT|POST|PATCH) (\S+) HTTP/[0-9.]+" (\d+) (\d+)')


class RegistryServer:
    """One registry; the record of how it was started is in its folder.

    :param folder: store, configuration, certificates, log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "registry.json"
        self.token = ""  # for pushes, where it wants tokens
        self.part = Part("registry", folder / "run", folder / "logs")

    def __enter__(self) -> RegistryServer:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.part.stop()

    @property
    def row(self) -> dict[str, Any]:
        """Where it is: registry, url, username, password, ca."""
        return json.loads(self.record.read_text())

    @property
    def name(self) -> str:
        """host:port, as references begin."""
        return str(self.row["registry"])

    def up(
        self, address: str, port: int, *, basic: str = "", tls: bool = False, auth: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Start it anew, with nothing in it.

        :param basic: ``user:password``; empty lets everybody in.
        :param auth: the section ``auth`` of its configuration, in place of *basic*.
        """
        program = binary("docker-registry")
        self.down()
        self.folder.mkdir(parents=True)
        holder = port_holder(port)
        if holder:
            raise LabError(f"port {port} is taken by {holder}; end it, or take another with --port")
        made = make_tls(self.folder / "tls", (address, "localhost")) if tls else {}
        user, _colon, password = basic.partition(":")
        if basic:
            secret = bcrypt.hashpw(password.encode(), bcrypt.gensalt(5)).decode()
            (self.folder / "htpasswd").write_text(f"{user}:{secret}\n")
            auth = {"htpasswd": {"realm": "lab", "path": str(self.folder / "htpasswd")}}
        http: dict[str, Any] = {"addr": f"{address}:{port}", "secret": "lab"}
        if made:
            http["tls"] = {"certificate": str(made["cert"]), "key": str(made["key"])}
        config = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "store")}, "delete": {"enabled": True}},
            "http": http,
            **({"auth": dict(auth)} if auth else {}),
        }
        (self.folder / "config.yml").write_text(yaml.safe_dump(config))
        row = {
            "registry": f"{address}:{port}",
            "url": f"{'https' if made else 'http'}://{address}:{port}",
            "username": user,
            "password": password,
            "ca": str(made["ca"]) if made else "",
        }
        self.record.write_text(json.dumps(row))
        self.part.start([str(program), "serve", str(self.folder / "config.yml")])
        self.part.wait_ready(self._answers)
        return row

    def down(self) -> None:
        self.part.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        row = self.row
        try:
            return requests.get(f"{row['url']}/v2/", verify=row["ca"] or True, timeout=2).status_code in (200, 401)
        except requests.RequestException:
            return False

    # ---- what it holds ----------------------------------------------------------------------------------------------
    def push(self, repository: str, layers: Sequence[tuple[bytes | Path, str, Mapping[str, str]]]) -> str:
        """An artifact of (content, media type, annotations); its reference with digest."""
        with self.session() as session:
            config = {"mediaType": CONFIG, **self.blob(session, repository, b"{}")}
            rows = [
                {"mediaType": media, **self.blob(session, repository, content), "annotations": dict(notes)}
                for content, media, notes in layers
            ]
            body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": rows}).encode()
            return self.push_manifest(repository, body, MANIFEST, session)

    def push_folder(self, folder: Path, repository: str) -> str:
        """A model of the files of *folder*, each a raw ModelPack layer."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        if not paths:
            raise LabError(f"{folder} has no files")
        rows = []
        for path in paths:
            media = WEIGHTS if path.suffix in (".safetensors", ".bin", ".gguf") else SETTINGS
            rows.append((path, media, {FILEPATH: str(path.relative_to(folder))}))
        return self.push(repository, rows)

    def push_manifest(self, repository: str, body: bytes, media: str, session: requests.Session | None = None) -> str:
        """A manifest as it is; its reference with digest."""
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        url = f"{self.row['url']}/v2/{repository}/manifests/{digest}"
        answer = (session or self.session()).put(url, data=body, headers={"Content-Type": media}, timeout=60)
        self._check(answer)
        return f"{self.name}/{repository}@{digest}"

    def blob(self, session: requests.Session, repository: str, content: bytes | Path) -> dict[str, Any]:
        """Upload a blob; its digest and size."""
        data = content.read_bytes() if isinstance(content, Path) else content
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        begun = session.post(f"{self.row['url']}/v2/{repository}/blobs/uploads/", timeout=60)
        self._check(begun)
        headers = {"Content-Type": "application/octet-stream"}
        sent = session.put(
            begun.headers["Location"], params={"digest": digest}, data=data, headers=headers, timeout=300
        )
        self._check(sent)
        return {"digest": digest, "size": len(data)}

    def session(self) -> requests.Session:
        row = self.row
        session = requests.Session()
        session.trust_env = False
        session.verify = row["ca"] or True
        session.auth = (row["username"], row["password"]) if row["username"] else None
        if self.token:
            session.headers["Authorization"] = f"Bearer {self.token}"
        return session

    def _check(self, answer: requests.Response) -> None:
        if not answer.ok:
            raise LabError(f"the registry answered {answer.request.method} with {answer.status_code}: {answer.text}")

    def stored(self, digest: str) -> Path:
        """The file in which the registry keeps a blob; a test spoils it there."""
        text = digest.partition(":")[2]
        return self.folder / "store" / "docker" / "registry" / "v2" / "blobs" / "sha256" / text[:2] / text / "data"

    def served(self) -> list[tuple[str, str, int, int]]:
        """(method, path, status, bytes) of every request, from its access log."""
        found = _LINE.findall(self.part.log.read_text(errors="replace"))
        return [(method, path, int(status), int(size)) for method, path, status, size in found]

    def blob_reads(self) -> list[tuple[int, int]]:
        """(status, bytes) of every read of a blob."""
        return [(status, size) for method, path, status, size in self.served() if method == "GET" and "/blobs/" in path]


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.registry", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start it, empty; prints where it is as JSON")
    up.add_argument("name")
    up.add_argument("--address", default=network.GATEWAY, help="the hosts' bridge by default")
    up.add_argument("--port", type=int, default=3501, help="in lab 0; each further lab adds 100")
    up.add_argument("--basic", metavar="USER:PASSWORD", default="")
    up.add_argument("--tls", action="store_true")
    push = commands.add_parser("push", help="an artifact of a folder's files; prints its reference")
    for name in ("name", "folder", "repository"):
        push.add_argument(name)
    commands.add_parser("down", help="end it").add_argument("name")
    arguments = parser.parse_args()
    server = RegistryServer(FOLDER / arguments.name)
    try:
        match arguments.command:
            case "up":
                port = arguments.port + 100 * network.INDEX
                row = server.up(arguments.address, port, basic=arguments.basic, tls=arguments.tls)
                print(json.dumps(row))
            case "push":
                print(server.push_folder(Path(arguments.folder), arguments.repository))
            case _:
                server.down()
    except (LabError, MissingBinaryError) as error:
        print(f"lab.registry: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
