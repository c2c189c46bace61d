# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group of model endpoints in the whole lab (B2, B3, B5): who joins, who is taken out, who may leave."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import Site, launched, running

from lab.settings import MODEL_NAME, REPO, Settings

FIRST_LAB = 10
PATIENCE_S = 60


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A lab of this file's own, with model endpoints."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    settings = Settings.numbered(FIRST_LAB + worker, models=True, clone_s=0.5, boot_s=0.5, model_load_s=1.5)
    with running(settings, tmp_path_factory.mktemp("scaling_groups"), "model") as site:
        yield site


@pytest.fixture
def site(models: Site) -> Iterator[Site]:
    """What a test leaves is what the next one begins with, as each play takes its time: none or one member of ours."""
    models.write_group()
    yield models
    models.control("vcenter", "DELETE", "/faults")


def eventually(done: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := done()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return found


def last_event(site: Site) -> dict[str, Any]:
    (event,) = site.ledger("select * from events order by id desc limit 1")
    return {**event, **{key: json.loads(event[key] or "[]") for key in ("steps", "cold_start", "members")}}


def grow(site: Site) -> tuple[str, str]:
    """A member of ours, launched if there is none; its name and address."""
    if not launched(site):
        run = site.playbook("scale_out", ignore_cooldown=True)
        assert run.rc == 0, run.output
    (name,) = launched(site)
    return name, site.vms()[name]["ip"]


def key(site: Site) -> str:
    return Path(site.description["model"]["key_file"]).read_text()


@contextlib.contextmanager
def clients(
    site: Site, folder: Path, count: int, *, tokens: int, url: str = ""
) -> Iterator[Callable[[], dict[str, Any]]]:
    """Clients that stream all the while; the function ends them and says what became of their streams."""
    rate, stats = folder / "rate", folder / "streams.jsonl"
    rate.write_text(str(count))
    stats.touch()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "lab.streams", "--url", url or f"http://{site.description['model']['vip']}"),
            *("--model", MODEL_NAME, "--tokens", str(tokens), "--rate-file", str(rate), "--stats", str(stats)),
        ],
        env={**os.environ, "PYTHONPATH": str(REPO / "tests"), "VLLM_API_KEY": key(site)},
    )

    def end() -> dict[str, Any]:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
        lines = [json.loads(line) for line in stats.read_text().splitlines()]
        return {**lines[-1], "failures": [row for line in lines for row in line["failures"]]}

    try:
        eventually(lambda: '"sent": ' in stats.read_text(), "no client began")
        yield end
    finally:
        process.kill()
        process.wait()


def load(site: Site, address: str) -> int:
    return json.loads(site.get(f"http://{address}:8000/load"))["server_load"]


@contextlib.contextmanager
def streaming(site: Site, folder: Path, address: str) -> Iterator[None]:
    """A member with a stream that does not end for a while."""
    with clients(site, folder, 1, tokens=4000, url=f"http://{address}:8000"):
        eventually(lambda: load(site, address), "no stream began")
        yield


def test_a_frozen_engine_never_joins(site: Site):
    """B2: vLLM's own health says 200 for ever; the tokens do not come, so the launch failed and is undone."""
    before = site.snapshot()
    site.write_group({"timeouts": {"gate": 6}, "quarantine": {"keep": 0}})
    site.control("vcenter", "POST", "/faults", {"mode": "unhealthy", "count": 1})
    run = site.playbook("scale_out", ignore_cooldown=True)
    assert run.rc != 0
    assert "Wait until tokens flow" in run.output
    assert site.snapshot() == before
    (breaker,) = site.ledger("select failures from breakers where group_name = 'model'")
    (failure,) = json.loads(breaker["failures"])
    assert failure["member"].startswith("model-")
    event = last_event(site)
    assert (event["result"], event["cold_start"]) == ("failed", [])
    assert "pool" not in [row["step"] for row in event["steps"]]


def test_a_member_joins_after_its_gate_and_its_warm_up(site: Site):
    """B2, B3: the event says where the time of the cold start went, and so do the play and the status."""
    run = site.playbook("scale_out", ignore_cooldown=True)
    assert run.rc == 0, run.output
    (name,) = launched(site)
    address = site.vms()[name]["ip"]
    assert site.members()[address]["availability"] == "available"
    event = last_event(site)
    steps = [row["step"] for row in event["steps"]]
    assert steps[steps.index("gate") :] == ["gate", "warmup", "pool", "target"]
    stages = {row["stage"]: row["seconds"] for row in event["cold_start"]}
    assert {row["host"] for row in event["cold_start"]} == {name}
    assert {"clone", "process", "load", "engine", "http", "gate", "warmup", "join"} <= stages.keys()
    assert all(seconds > 0 for seconds in stages.values())
    status = site.playbook("status")
    for output in (run.output, status.output):
        assert re.search(rf"cold start +{name}", output)
        assert re.search(r"warmup +\d+\.\d s", output)


def test_one_that_freezes_later_leaves_the_pool_and_is_replaced(site: Site, tmp_path: Path):
    """B2: its canary takes it out; reconcile does not wait for streams that never end."""
    site.write_group({"health": {"grace": 0}})
    name, address = grow(site)
    with streaming(site, tmp_path, address):
        os.kill(site.vms()[name]["pid"], signal.SIGUSR1)
        eventually(lambda: site.members()[address]["availability"] == "offline", "it was not taken out of the pool")
        assert site.get(f"http://{address}:8000/health") == ""  # 200 all the same
        run = site.playbook("reconcile")
        assert run.rc == 0, run.output
    (other,) = launched(site)
    assert other != name
    assert site.members()[site.vms()[other]["ip"]]["availability"] == "available"
    assert len(site.members()) == 2


def test_one_that_is_not_idle_at_the_deadline_stays(site: Site, tmp_path: Path):
    """B5 has no exception: it is out of the way of new requests, the action says why, the next scale-in ends it."""
    site.write_group({"scale_in": {"drain_timeout": 4}})
    name, address = grow(site)
    with streaming(site, tmp_path, address):
        run = site.playbook("scale_in", ignore_cooldown=True)
        event = last_event(site)
        assert event["code"] == "partial"
        assert name in event["message"]
        assert re.search(r"1 (request|stream)s?|running", event["message"]), event["message"]
        assert run.rc != 0
        assert launched(site) == {name}
        assert not site.members()[address]["enabled"]
        assert load(site, address) == 1
    run = site.playbook("scale_in", ignore_cooldown=True)
    assert run.rc == 0, run.output
    assert launched(site) == set()
    assert set(site.members()) == site.base


def test_scale_in_while_streams_run_cuts_none(site: Site, tmp_path: Path):
    """B5: clients stream through the pool all the while; each gets all its tokens, counted one by one."""
    _name, address = grow(site)
    with clients(site, tmp_path, 3, tokens=120) as end:
        eventually(lambda: site.members()[address]["connections"], "no stream came to the new member")
        run = site.playbook("scale_in", ignore_cooldown=True)
        told = end()
    assert run.rc == 0, run.output
    assert launched(site) == set()
    assert (told["failed"], told["failures"]) == (0, [])
    assert told["ok"] == told["sent"] > 3
    steps = [row["step"] for row in last_event(site)["steps"]]
    assert steps[steps.index("drain") :] == ["drain", "idle", "pool", "target", "delete"]
