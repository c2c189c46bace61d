# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role ``receiver`` is tested with: ``python -m lab.receiver_parts FOLDER``.

* archives of the collection as it is in the checkout, one with its own version and one with a later one;
* an archive of wheels for the Pythons of Debian 12 and 13;
* what a galaxy server would answer, as files for any web server;
* a certificate authority, a certificate for a list of addresses, and one for a client.

Prints where they are, as JSON. The wheels are made once, next to FOLDER, and again when their recipe changes.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import trustme

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "roles" / "receiver" / "files" / "constraints.txt"
REQUIREMENTS = ROOT / "requirements.txt"
PYTHONS = {"3.11": "2.19", "3.13": "2.21"}  # of Debian 12 and 13, with the ansible-core that they run
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64")
LATER = "99.0.0"


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.receiver_parts", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", action="append", default=[], help="for the server's certificate")
    parser.add_argument("--galaxy", default="http://127.0.0.1:18070", help="where the galaxy folder will be served")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    archive = collection(folder)
    parts = {
        "archive": described(archive),
        "later": described(later(archive)),
        "wheels": described(wheels(folder.parent)),
        "galaxy": galaxy(folder / "galaxy", archive, arguments.galaxy),
        "tls": certificates(folder / "tls", arguments.address),
    }
    (folder / "parts.json").write_text(json.dumps(parts, indent=1) + "\n")
    print(json.dumps(parts))
    return 0


def described(archive: Path) -> dict[str, str]:
    """As the role wants it."""
    return {"url": str(archive), "checksum": f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"}


def collection(folder: Path) -> Path:
    """The checkout, as ``ansible-galaxy`` packs it."""
    for old in folder.glob("onprem-autoscale-*.tar.gz"):
        old.unlink()
    run("ansible-galaxy", "collection", "build", "--output-path", folder, ROOT)
    return next(folder.glob("onprem-autoscale-*.tar.gz"))


def later(archive: Path) -> Path:
    """The same with a later version, as an upgrade brings it."""
    target = archive.parent / "later" / f"onprem-autoscale-{LATER}.tar.gz"
    target.parent.mkdir(exist_ok=True)
    with tarfile.open(archive) as source, tarfile.open(target, "w:gz") as copy:
        for member in source:
            content = source.extractfile(member)
            if member.name == "MANIFEST.json":
                manifest = json.load(content)
                manifest["collection_info"]["version"] = LATER
                data = json.dumps(manifest).encode()
                member.size, content = len(data), io.BytesIO(data)
            copy.addfile(member, content)
    return target


def galaxy(folder: Path, archive: Path, url: str) -> dict[str, str]:
    """The pages that ``ansible-galaxy collection download`` asks for, version 3 of the interface."""
    version = archive.name.removeprefix("onprem-autoscale-").removesuffix(".tar.gz")
    base = "v3/collections/onprem/autoscale"
    detail = {
        "version": version,
        "href": f"/{base}/versions/{version}/",
        "namespace": {"name": "onprem"},
        "collection": {"name": "autoscale"},
        "artifact": {"filename": archive.name, "sha256": described(archive)["checksum"].partition(":")[2]},
        "download_url": f"{url}/{archive.name}",
        "metadata": {"dependencies": {}},
        "signatures": [],
        "requires_ansible": ">=2.16.0",
    }
    listed = {"version": version, "href": detail["href"]}
    pages = {
        "api": {"available_versions": {"v3": "../v3/"}},
        f"{base}/versions": {"meta": {"count": 1}, "links": {"next": None}, "data": [listed]},
        f"{base}/versions/{version}": detail,
        base: {"namespace": "onprem", "name": "autoscale", "highest_version": listed, "versions_url": "versions/"},
    }
    shutil.rmtree(folder, ignore_errors=True)
    for path, page in pages.items():
        (folder / path).mkdir(parents=True, exist_ok=True)
        (folder / path / "index.html").write_text(json.dumps(page))
    shutil.copy(archive, folder / archive.name)
    return {"folder": str(folder), "server": f"{url}/api/", "version": version}


def wheels(folder: Path) -> Path:
    """One archive for all :data:`PYTHONS`; pip takes what fits."""
    recipe = Path(__file__).read_bytes() + CONSTRAINTS.read_bytes() + REQUIREMENTS.read_bytes()
    final = folder / f"receiver-wheels-{hashlib.sha256(recipe).hexdigest()[:12]}.tar.gz"
    with open(folder / ".receiver-wheels.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.exists():
            return final
        for old in folder.glob("receiver-wheels-*.tar.gz"):
            old.unlink()
        with tempfile.TemporaryDirectory(prefix=".receiver-wheels-", dir=folder) as work:
            for python, core in PYTHONS.items():
                download(Path(work), python, core)
            fresh = Path(work) / "fresh"
            with tarfile.open(fresh, "w:gz", compresslevel=1) as archive:
                for wheel in sorted(Path(work).glob("*/*.whl")):
                    if wheel.name not in archive.getnames():
                        archive.add(wheel, wheel.name)
            shutil.move(fresh, final)
    return final


def download(work: Path, python: str, core: str) -> None:
    """pip looks at markers with its own Python, not with the one it downloads for: the versions go without markers."""
    pins = work / f"constraints-{python}.txt"
    lines = CONSTRAINTS.read_text().splitlines()
    pins.write_text("\n".join(line for line in lines if not line.startswith("ansible-core")) + "\n")
    run(
        sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--python-version", python,
        *(f"--platform={name}" for name in PLATFORMS), "--constraint", pins, "--dest", work / python,
        "--requirement", REQUIREMENTS, pinned_core(core),
    )  # fmt: skip


def pinned_core(core: str) -> str:
    """``ansible-core==...`` of that series, as the role pins it."""
    lines = CONSTRAINTS.read_text().splitlines()
    return next(line.partition(";")[0].strip() for line in lines if line.startswith(f"ansible-core=={core}."))


def certificates(folder: Path, addresses: list[str]) -> dict[str, str]:
    """PEM files: an authority, a server's certificate and key, a client's, and a key that fits to neither."""
    folder.mkdir(exist_ok=True)
    authority = trustme.CA()
    server = authority.issue_cert(*addresses or ["localhost"])
    client = authority.issue_cert("alertmanager.example.org", common_name="alertmanager.example.org")
    stranger = trustme.CA().issue_cert("alertmanager.example.org", common_name="alertmanager.example.org")
    blobs = {
        "ca": [authority.cert_pem],
        "cert": server.cert_chain_pems,
        "key": [server.private_key_pem],
        "client_cert": client.cert_chain_pems,
        "client_key": [client.private_key_pem],
        "stranger_cert": stranger.cert_chain_pems,
        "stranger_key": [stranger.private_key_pem],
    }
    paths = {name: folder / f"{name}.pem" for name in blobs}
    for name, blob in blobs.items():
        paths[name].write_bytes(b"".join(part.bytes() for part in blob))
        paths[name].chmod(0o600)
    return {name: str(path) for name, path in paths.items()}


def run(*command: object) -> None:
    """With its output where a person can read it, not on stdout, which is JSON."""
    subprocess.run([*map(str, command)], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
