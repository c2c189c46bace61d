# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pulls that are killed, cut, given wrong bytes, or run twice at once, from the real registry (B1)."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.faults.spawn import FaultProxy
from lab.kit import free_port, wait_for
from lab.registry import FILEPATH, WEIGHTS, RegistryServer

Run = Callable[..., dict[str, Any]]
Start = Callable[..., Any]
SIZE = 9 * 1024 * 1024
BEFORE = 2 * 1024 * 1024


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path_factory.mktemp("registry") / "r") as server:
        server.up("127.0.0.1", free_port())
        yield server


@pytest.fixture
def proxy(registry: RegistryServer, tmp_path: Path) -> Iterator[FaultProxy]:
    with FaultProxy(tmp_path / "faults", [{"name": "r", "mode": "tcp", "upstream": registry.name}]) as running:
        yield running


class Model:
    """One large layer in the registry, and what a module needs to pull it."""

    def __init__(self, registry: RegistryServer, path: Path, size: int = SIZE) -> None:
        self.content = os.urandom(size)
        self.reference = registry.push("models/big", [(self.content, WEIGHTS, {FILEPATH: "w.bin"})])
        self.path = path
        self.reads = len(registry.blob_reads())
        self.registry = registry

    def args(self, proxy: FaultProxy | None = None) -> dict[str, Any]:
        rest = self.reference.partition("/")[2]
        name = f"127.0.0.1:{proxy.ports['r']}" if proxy else self.registry.name
        return {"reference": f"{name}/{rest}", "path": str(self.path), "plain_http": True}

    @property
    def revision(self) -> Path:
        return self.path / "revisions" / self.reference.partition("@")[2].replace(":", "-")

    def partial(self) -> int:
        """Bytes of the unfinished blob."""
        return sum(path.stat().st_size for path in self.revision.glob(".partial/*.partial"))

    def served(self, count: int) -> list[tuple[int, int]]:
        """(status, bytes) of the *count* reads of a blob since the push; the log comes a moment later."""
        wait_for(lambda: len(self.registry.blob_reads()) - self.reads >= count, what="the registry's log")
        return self.registry.blob_reads()[self.reads :]

    def pulled(self) -> bytes:
        return (self.path / "current" / "w.bin").read_bytes()


def test_a_pull_that_is_killed_goes_on_where_it_was(
    run_module: Run, start_module: Start, registry: RegistryServer, proxy: FaultProxy, tmp_path: Path
) -> None:
    """kill -9 in the middle of a blob; the next run asks for the rest, and the registry serves no byte more."""
    model = Model(registry, tmp_path / "m")
    proxy.fault("r", "cut", call="message", skip=1, after_bytes=BEFORE)  # the manifest passes, the blob is cut
    proxy.fault("r", "refuse", call="connect", skip=1, times=None)  # and then the module waits for the registry
    process = start_module("oci_artifact", model.args(proxy))
    wait_for(lambda: any(row["fault"] == "refuse" for row in proxy.calls()), what="the cut")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = model.partial()
    assert 0 < kept <= BEFORE
    assert not (tmp_path / "m" / "current").is_symlink()
    assert not (model.revision / ".complete").exists()
    proxy.clear()
    before = len(model.served(1))

    seen = run_module("oci_artifact", model.args())
    assert not seen["failed"], seen
    assert seen["bytes_fetched"] == SIZE - kept
    assert model.served(before + 1)[before:] == [(206, SIZE - kept)]
    assert model.pulled() == model.content
    assert sorted(path.name for path in model.revision.iterdir()) == [".complete", "w.bin"]
    assert not run_module("oci_artifact", model.args())["changed"]


def test_a_pull_that_is_cut_again_and_again_ends_in_one_run(
    run_module: Run, registry: RegistryServer, proxy: FaultProxy, tmp_path: Path
) -> None:
    model = Model(registry, tmp_path / "m")
    proxy.fault("r", "cut", call="message", skip=1, times=3, after_bytes=BEFORE)
    seen = run_module("oci_artifact", model.args(proxy))
    assert not seen["failed"], seen
    assert model.pulled() == model.content
    assert [status for status, _size in model.served(4)] == [200, 206, 206, 206]
    assert seen["bytes_fetched"] == SIZE, "nothing came twice"


def test_a_corrupt_blob_is_refused_removed_and_never_current(
    run_module: Run, registry: RegistryServer, tmp_path: Path
) -> None:
    """The store of the registry went bad behind its back: the digest is named, the model before goes on."""
    good, bad = Model(registry, tmp_path / "m", 100_000), Model(registry, tmp_path / "m", 100_000)
    assert not run_module("oci_artifact", good.args())["failed"]
    digest = json.loads(registry.stored(bad.reference.partition("@")[2]).read_text())["layers"][0]["digest"]
    registry.stored(digest).write_bytes(b"\0" * 100_000)
    seen = run_module("oci_artifact", bad.args())
    assert seen["failed"]
    assert f"The blob {digest} of {bad.reference} is corrupt" in seen["msg"]
    assert bad.partial() == 0
    assert not (bad.revision / "w.bin").exists()
    assert good.pulled() == good.content
    seen = run_module("oci_artifact", good.args())
    assert not seen["failed"], seen
    assert not bad.revision.exists(), "what can never be finished is tidied away"


def test_two_runs_at_once_fetch_it_once(start_module: Start, registry: RegistryServer, tmp_path: Path) -> None:
    model = Model(registry, tmp_path / "m", 2_000_000)
    both = [start_module("oci_artifact", model.args()) for _number in range(2)]
    results = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert sorted(result["bytes_fetched"] for result in results) == [0, 2_000_000]
    assert sorted(result["changed"] for result in results) == [False, True]
    assert model.served(1) == [(200, 2_000_000)]


def test_a_reader_of_current_always_finds_a_whole_model(
    run_module: Run, registry: RegistryServer, tmp_path: Path
) -> None:
    """Between two revisions there is no moment without one, and none with half of one."""
    models = [Model(registry, tmp_path / "m", 500_000 + number) for number in range(2)]
    assert not run_module("oci_artifact", models[0].args())["failed"]
    whole = {model.revision.name: len(model.content) for model in models}
    seen: list[str] = []
    wrong: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                folder = tmp_path / "m" / os.readlink(tmp_path / "m" / "current")
                if not (folder / ".complete").exists() or (folder / "w.bin").stat().st_size != whole[folder.name]:
                    wrong.append(str(folder))
                seen.append(folder.name)
            except OSError as error:
                wrong.append(str(error))
            time.sleep(0.001)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for model in (models[1], models[0], models[1]):
            assert run_module("oci_artifact", model.args())["changed"]
    finally:
        stop.set()
        reader.join()
    assert wrong == []
    assert set(seen) == set(whole)
