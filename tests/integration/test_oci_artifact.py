# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models out of the real registry: what was pushed by another client, who may pull, what is refused (B1)."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import oras.client
import pytest
import requests

from lab.kit import free_port
from lab.registry import FILEPATH, MANIFEST, SETTINGS, WEIGHTS, RegistryServer
from lab.registry_tokens import TokenServer

Run = Callable[..., dict[str, Any]]
ROBOT = {"username": "robot$models+pull", "password": "p: s3cret,word"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """It lets everybody in, without TLS."""
    with RegistryServer(tmp_path_factory.mktemp("registry") / "r") as server:
        server.up("127.0.0.1", free_port())
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """TLS, and Basic."""
    with RegistryServer(tmp_path_factory.mktemp("guarded") / "r") as server:
        server.up("127.0.0.1", free_port(), basic=":".join(ROBOT.values()), tls=True)
        yield server


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(os.urandom(300_000))
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "tokenizer.json").write_text('{"a": 1}')
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".complete"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_life_of_a_model(run_module: Run, model: Path, tmp_path: Path) -> None:
    """Bare, check mode, pulled, again without a registry, next digest, back, and again."""
    with RegistryServer(tmp_path / "registry") as registry:
        registry.up("127.0.0.1", free_port())
        first = registry.push_folder(model, "models/llama")
        args = {"reference": first, "path": str(tmp_path / "model"), "plain_http": True}
        seen = run_module("oci_artifact", args, check=True, diff=True)
        assert (seen["changed"], seen["failed"]) == (True, False), seen
        assert seen["diff"]["before"] == {"current": "", "revisions": []}
        assert not (tmp_path / "model").exists()

        seen = run_module("oci_artifact", args)
        assert (seen["changed"], seen["failed"]) == (True, False), seen
        assert tree(Path(seen["current"])) == tree(model)
        assert seen["files"] == sorted(tree(model))
        assert seen["bytes"] == seen["bytes_fetched"] == sum(map(len, tree(model).values()))
        (model / "config.json").write_text('{"next": true}')
        second = registry.push_folder(model, "models/llama")
        seen = run_module("oci_artifact", {**args, "reference": second})
        assert seen["changed"]
        assert tree(tmp_path / "model" / "current") == tree(model)

    # The registry is gone: what is here needs nobody.
    for check in (True, False):
        seen = run_module("oci_artifact", {**args, "reference": second}, check=check)
        assert (seen["changed"], seen["failed"], seen["bytes_fetched"]) == (False, False, 0), seen
    seen = run_module("oci_artifact", args)
    assert (seen["changed"], seen["failed"], seen["bytes_fetched"]) == (True, False, 0), seen
    assert (tmp_path / "model" / "current" / "config.json").read_text() == "{}"
    seen = run_module("oci_artifact", {**args, "reference": f"{second[:-1]}{'0' if second[-1] != '0' else '1'}"})
    assert seen["failed"]
    assert "refused" in seen["msg"]
    assert "Check the address and the port" in seen["msg"]


def test_what_oras_pushed_arrives_as_it_was(
    run_module: Run, registry: RegistryServer, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that we did not write, with files and a folder that it packs."""
    monkeypatch.chdir(model)
    client = oras.client.OrasClient(hostname=registry.name, insecure=True)
    client.push(target=f"{registry.name}/models/oras:v1", files=["model.safetensors", "config.json", "sub"])
    answer = requests.head(
        f"http://{registry.name}/v2/models/oras/manifests/v1", headers={"Accept": MANIFEST}, timeout=10
    )
    reference = f"{registry.name}/models/oras:v1@{answer.headers['Docker-Content-Digest']}"
    seen = run_module("oci_artifact", {"reference": reference, "path": str(tmp_path / "m"), "plain_http": True})
    assert not seen["failed"], seen
    assert tree(tmp_path / "m" / "current") == tree(model)


def test_archives_and_the_older_media_types(
    run_module: Run, registry: RegistryServer, model: Path, tmp_path: Path
) -> None:
    def packed(mode: str, *names: str) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode) as archive:
            for name in names:
                archive.add(model / name, arcname=name)
        return stream.getvalue()

    reference = registry.push(
        "models/mixed",
        [
            (packed("w", "model.safetensors"), WEIGHTS.replace("raw", "tar"), {FILEPATH: "model.safetensors"}),
            (packed("w:gz", "sub"), SETTINGS.replace("raw", "tar+gzip"), {}),
            (
                (model / "config.json").read_bytes(),
                SETTINGS.replace("cncf", "cnai"),
                {FILEPATH.replace("cncf", "cnai"): "config.json"},
            ),
        ],
    )
    seen = run_module("oci_artifact", {"reference": reference, "path": str(tmp_path / "m"), "plain_http": True})
    assert not seen["failed"], seen
    assert tree(tmp_path / "m" / "current") == tree(model)


@pytest.mark.parametrize("way", ["file", "member", "link"])
def test_nothing_is_written_outside(run_module: Run, registry: RegistryServer, tmp_path: Path, way: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("../../../../evil" if way == "member" else "evil")
        info.type, info.linkname = (tarfile.SYMTYPE, "/etc/passwd") if way == "link" else (tarfile.REGTYPE, "")
        archive.addfile(info, io.BytesIO())
    layer = (
        (b"evil", WEIGHTS, {FILEPATH: "../../../evil"})
        if way == "file"
        else (stream.getvalue(), WEIGHTS.replace("raw", "tar"), {})
    )
    reference = registry.push("models/evil", [layer])
    seen = run_module("oci_artifact", {"reference": reference, "path": str(tmp_path / "a" / "m"), "plain_http": True})
    assert seen["failed"]
    assert "evil" in seen["msg"]
    assert not list(tmp_path.rglob("evil"))
    assert not (tmp_path / "a" / "m" / "current").is_symlink()


def test_a_model_that_does_not_fit_is_refused_before_the_first_byte(
    run_module: Run, registry: RegistryServer, tmp_path: Path
) -> None:
    good = registry.push("models/huge", [(b"x", WEIGHTS, {FILEPATH: "w"})])
    address = f"http://{good.replace('/', '/v2/', 1).replace('@', '/manifests/')}"
    manifest = requests.get(address, headers={"Accept": MANIFEST}, timeout=10).json()
    manifest["layers"][0]["size"] = 2**60
    reference = registry.push_manifest("models/huge", json.dumps(manifest).encode(), MANIFEST)
    reads = len(registry.blob_reads())
    seen = run_module("oci_artifact", {"reference": reference, "path": str(tmp_path / "m"), "plain_http": True})
    assert seen["failed"]
    assert "MiB free" in seen["msg"]
    assert len(registry.blob_reads()) == reads


def test_tls_and_basic(run_module: Run, guarded: RegistryServer, model: Path, tmp_path: Path) -> None:
    reference = guarded.push_folder(model, "models/guarded")
    args = {"reference": reference, "path": str(tmp_path / "m"), "ca_path": guarded.row["ca"], **ROBOT}
    for change, words in (
        ({"password": "wrong"}, "Check username and password"),
        ({"username": None, "password": None}, "Give username and password"),
        ({"ca_path": None}, "Give the CA of the server in ca_path"),
        ({"plain_http": True}, "400"),
    ):
        seen = run_module("oci_artifact", {**args, **change})
        assert seen["failed"], change
        assert words in seen["msg"]
        assert "s3cret" not in json.dumps(seen)
        assert not (tmp_path / "m" / "current").is_symlink()
    seen = run_module("oci_artifact", args)
    assert not seen["failed"], seen
    assert tree(tmp_path / "m" / "current") == tree(model)


def test_tokens_and_one_that_has_ended(run_module: Run, model: Path, tmp_path: Path) -> None:
    """The registry refuses a token whose time is over, and the pull gets another one."""
    with (
        TokenServer({ROBOT["username"]: ROBOT["password"]}, tmp_path / "tokens") as tokens,
        RegistryServer(tmp_path / "registry") as registry,
    ):
        registry.up("127.0.0.1", free_port(), auth=tokens.auth)
        registry.token = tokens.token("builder", "repository:models/m:pull,push")
        reference = registry.push_folder(model, "models/m")
        args = {"reference": reference, "path": str(tmp_path / "m"), "plain_http": True, **ROBOT}
        seen = run_module("oci_artifact", {**args, "password": "wrong"})
        assert seen["failed"]
        assert "gives no token to robot$models+pull (401)" in seen["msg"]
        tokens.expired, tokens.given = 1, 0
        seen = run_module("oci_artifact", args)
        assert not seen["failed"], seen
        assert tokens.given == 2
        assert tree(tmp_path / "m" / "current") == tree(model)
