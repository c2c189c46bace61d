# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role ``vllm_host`` is tested with: ``python -m lab.vllm_parts FOLDER``.

* a folder of wheels: the stub of vLLM and the role's tools; the same as an index of PEP 503 for any web server;
* requirements with hashes;
* two revisions of a model, as folders and, with ``--registry NAME``, in the real registry;
* a library that stands in for NVML, and a certificate for a list of addresses.

Prints where they are, as JSON. The tools are downloaded once, next to FOLDER.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path

from . import nvml
from .hosts import network
from .registry import FOLDER as REGISTRIES
from .registry import RegistryServer
from .tls import make_tls
from .vllm import VERSION, wheel

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "roles" / "vllm_host" / "files" / "tools-requirements.txt"
USER, PASSWORD = "robot$models+pull", "a-word-that-only-the-robot-knows"


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.vllm_parts", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", action="append", default=[], help="for the certificate")
    parser.add_argument("--registry", metavar="NAME", help="start it and push the model")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    models = {name: str(model(folder / "models" / name, name)) for name in ("first", "second")}
    parts = {
        **wheels(folder),
        "models": models,
        "nvml": str(nvml.build(folder)),
        "tls": {name: str(path) for name, path in make_tls(folder / "tls", arguments.address or ["localhost"]).items()},
    }
    if arguments.registry:
        server = RegistryServer(REGISTRIES / arguments.registry)
        parts["registry"] = server.up(network.GATEWAY, 3502, basic=f"{USER}:{PASSWORD}", tls=True)
        parts["references"] = {name: server.push_folder(Path(path), "models/tiny") for name, path in models.items()}
    (folder / "parts.json").write_text(json.dumps(parts, indent=1) + "\n")
    print(json.dumps(parts))
    return 0


def wheels(folder: Path) -> dict[str, str]:
    """Folder, index and requirements."""
    flat, index = folder / "wheels", folder / "simple"
    shutil.copytree(tools(folder.parent), flat)
    _path, digest = wheel.write(flat)
    for path in flat.glob("*.whl"):
        home = index / path.name.split("-")[0].replace("_", "-").lower()
        home.mkdir(parents=True)
        shutil.copy(path, home)
    requirements = folder / "requirements.txt"
    requirements.write_text(f"vllm=={VERSION} --hash=sha256:{digest}\n")
    return {"wheels": str(flat), "index": str(folder), "requirements": str(requirements)}


def tools(folder: Path) -> Path:
    """The wheels that the role's tools are made of, with the hashes that it wants."""
    final = folder / "vllm-tools"
    with open(folder / ".vllm-tools.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = final / "requirements.txt"
        if known.exists() and known.read_bytes() == TOOLS.read_bytes():
            return final
        shutil.rmtree(final, ignore_errors=True)
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
        ]
        command += ["--python-version", "3.11", "--platform", "any", "--dest", str(final), "--requirement", str(TOOLS)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        shutil.copy(TOOLS, known)
    return final


def model(folder: Path, name: str) -> Path:
    """A folder that looks like a model; the stub reads nothing of it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "revision": name}))
    (folder / "model.safetensors").write_bytes(name.encode() * 50_000)
    return folder


if __name__ == "__main__":
    sys.exit(main())
