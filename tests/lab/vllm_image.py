# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OCI images that hold the stub of vLLM on Debian's Python: ``python -m lab.vllm_image FOLDER --registry NAME``.

Starts the real registry and pushes two images, ``first`` and ``second``, which differ in a label alone, and a model.
Prints where they are, as JSON, which is in FOLDER/parts.json too. Debian's Python is fetched once, next to FOLDER.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path

from .hosts import network
from .hosts.system import require, run
from .hosts.trees import KEYRING, mirrors
from .registry import FOLDER as REGISTRIES
from .registry import MANIFEST, RegistryServer
from .vllm_parts import PASSWORD, USER, model

STUB = Path(__file__).parent / "vllm"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
PROGRAM = b"#!/usr/bin/python3\nimport sys\n\nfrom vllm.cli import main\n\nsys.exit(main())\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.vllm_image", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--registry", metavar="NAME", required=True)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    server = RegistryServer(REGISTRIES / arguments.registry)
    row = server.up(network.GATEWAY, 3503, basic=f"{USER}:{PASSWORD}", tls=True)
    layers = [base(folder.parent), stub(folder)]
    parts = {
        "registry": row,
        "model": str(model(folder / "model", "first")),
        "images": {name: push(server, "images/vllm", layers, name) for name in ("first", "second")},
    }
    (folder / "parts.json").write_text(json.dumps(parts, indent=1) + "\n")
    print(json.dumps(parts))
    return 0


def base(folder: Path) -> Path:
    """Debian's Python with what it needs, as a layer."""
    final = folder / "python.tar"
    with open(folder / ".python.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            require()
            fresh = folder / ".python.tar"
            line = f"deb [signed-by={KEYRING}] {mirrors()[0]} bookworm main"
            words = ["--quiet", "--mode=root", "--variant=extract", "--include=python3", "--format=tar"]
            run("mmdebstrap", *words, "bookworm", fresh, line)
            os.replace(fresh, final)
    return final


def stub(folder: Path) -> Path:
    """The package ``vllm`` and its command, as a layer."""
    final = folder / "stub.tar"
    files = {f"usr/lib/python3/dist-packages/vllm/{path.name}": path.read_bytes() for path in STUB.glob("*.py")}
    with tarfile.open(final, "w") as archive:
        for name, content in sorted({**files, "usr/local/bin/vllm": PROGRAM}.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if content is PROGRAM else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return final


def push(server: RegistryServer, repository: str, layers: list[Path], label: str) -> str:
    """An image of these layers; its reference with digest."""
    digests = [f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Labels": {"lab": label}},
        "rootfs": {"type": "layers", "diff_ids": digests},
    }
    with server.session() as session:
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, **server.blob(session, repository, json.dumps(config).encode())},
            "layers": [{"mediaType": LAYER, **server.blob(session, repository, path)} for path in layers],
        }
        return server.push_manifest(repository, json.dumps(manifest).encode(), MANIFEST, session)


if __name__ == "__main__":
    sys.exit(main())
