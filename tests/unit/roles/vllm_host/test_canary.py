# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The canary of the role ``vllm_host`` against the stub of vLLM, which replays what was measured (B1, B2)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.kit.vllm_host import load

from lab.kit import free_port, wait_for

canary = load("vllm_canary")
KEY = "a-key-of-sixteen-characters"


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


class Stub:
    """vLLM's stub as a process, with the configuration of a canary for it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        options = folder / "main.yml"
        options.write_text(f"served-model-name: tiny\nhost: 127.0.0.1\nport: {self.port}\nshutdown-timeout: 5\n")
        command = [sys.executable, "-m", "lab.vllm", "serve", "--config", str(options)]
        given = {**os.environ, "VLLM_STUB_LOAD_SECONDS": "0", "VLLM_STUB_TOKENS_PER_SECOND": "500", **environment}
        self._process = subprocess.Popen(command, env=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.health() == 200, 30)

    def health(self) -> int:
        return get(f"http://127.0.0.1:{self.port}/health")[0]

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def canary(self, **changed: Any) -> Any:
        config = {"url": f"http://127.0.0.1:{self.port}", "model": "tiny", "tokens": 4, "deadline": 5, "interval": 30}
        config.update(failures=2, restart_rest=600, restart_file=str(self.folder / "restart"))
        config.update(coldstart_file=str(self.folder / "coldstart.json"), record=[])
        return canary.Canary({**config, **changed})


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Stub]]:
    made: list[Stub] = []

    def make(**environment: str) -> Stub:
        made.append(Stub(tmp_path, environment))
        return made[-1]

    yield make
    for stub in made:
        stub.kill()


def test_red_until_the_first_tokens_then_green(start: Callable[..., Stub]) -> None:
    asked = start().canary()
    assert (asked.ready, asked.reason) == (False, "no request has succeeded yet")
    assert asked.turn() == 30
    assert (asked.ready, asked.success, asked.reason) == (True, True, "ok")


def test_a_frozen_engine_turns_red_while_health_is_200_and_is_restarted_once(start: Callable[..., Stub]) -> None:
    stub = start()
    asked = stub.canary(deadline=2)
    asked.turn()
    stub.freeze()
    asked.turn()
    assert (asked.ready, asked.success, asked.failures) == (True, False, 1)
    asked.turn()
    assert stub.health() == 200
    assert (asked.ready, asked.failures) == (False, 2)
    wish = stub.folder / "restart"
    assert wish.read_text().startswith("no whole answer to /v1/completions within 2 s; 2 in a row")
    wish.write_text("seen")
    asked.turn()
    assert "not again within 600 s" in asked.reason
    assert wish.read_text() == "seen"
    os.utime(wish, (1, 1))
    asked.turn()
    assert wish.read_text() != "seen", "it rested long enough"


def test_a_new_canary_knows_of_the_restart_before(start: Callable[..., Stub]) -> None:
    stub = start()
    stub.freeze()
    wish = stub.folder / "restart"
    wish.write_text("by the canary before")
    asked = stub.canary(deadline=0.3)
    asked.turn()
    asked.turn()
    assert wish.read_text() == "by the canary before"


def test_nobody_listens_is_red_at_once_asked_again_soon_and_no_reason_for_a_restart(start: Callable[..., Stub]) -> None:
    stub = start()
    asked = stub.canary(failures=1)
    asked.turn()
    stub.kill()
    assert asked.turn() == canary.HURRY
    assert (asked.ready, asked.success, asked.failures) == (False, False, 0)
    assert asked.reason.startswith("nobody listens")
    assert not (stub.folder / "restart").exists()


def test_who_is_busy_is_not_asked_and_the_canarys_own_tokens_are_no_proof(start: Callable[..., Stub]) -> None:
    stub = start()
    asked, somebody = stub.canary(), stub.canary()
    asked.turn()
    questions = []
    ask, asked._engine.tokens = asked._engine.tokens, lambda: questions.append(ask())
    somebody._engine.tokens()
    asked.turn()
    assert (questions, asked.success) == ([], True)
    asked.turn()
    assert len(questions) == 1
    asked.turn()
    assert len(questions) == 2


def test_a_counter_that_is_late_does_not_make_it_skip(start: Callable[..., Stub]) -> None:
    asked = start().canary()
    counts = iter([100, 100, 104])
    asked._engine.generated = lambda: next(counts)
    asked.turn()
    assert not asked._alive_anyway()


def test_an_answer_that_is_the_canarys_own_fault_restarts_nothing(start: Callable[..., Stub]) -> None:
    stub = start(VLLM_API_KEY=KEY)
    for changed, status in (({}, 401), ({"model": "another"}, 404)):
        asked = stub.canary(failures=1, **changed)
        asked._engine._key = KEY if status == 404 else ""
        asked.turn()
        assert not asked.ready
        assert f"answered {status}" in asked.reason
    assert not (stub.folder / "restart").exists()


def test_the_key_is_sent(start: Callable[..., Stub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    asked = start(VLLM_API_KEY=KEY).canary()
    asked.turn()
    assert asked.ready


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"usage": {"completion_tokens": 3}, "choices": [{"finish_reason": "length"}]}, "3 of 4 tokens"),
        ({"usage": {"completion_tokens": 4}, "choices": [{"finish_reason": "abort"}]}, "finish reason abort"),
        ({"error": {"message": "EngineCore died"}}, "cannot be understood"),
        ([], "cannot be understood"),
    ],
)
def test_an_answer_with_status_200_is_not_enough(start: Callable[..., Stub], answer: Any, words: str) -> None:
    asked = start().canary()
    asked._engine._ask = lambda _method, _path, body: json.dumps(answer).encode() if body else b""
    asked.turn()
    assert not asked.ready
    assert words in asked.reason


def test_what_it_serves(start: Callable[..., Stub]) -> None:
    stub = start()
    asked, port = stub.canary(), free_port()
    serving = canary.server(asked, "127.0.0.1", port)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{port}"
    try:
        assert get(f"{url}/readyz") == (503, "no request has succeeded yet\n")
        assert json.loads(get(f"{url}/coldstart")[1]) == {"stages": []}
        asked.turn()
        stages = {"stages": [{"stage": "load", "seconds": 1.5}]}
        (stub.folder / "coldstart.json").write_text(json.dumps(stages))
        asked.licensed = False
        assert get(f"{url}/readyz") == (200, "ok\n")
        assert json.loads(get(f"{url}/coldstart")[1]) == stages
        lines = get(f"{url}/metrics")[1].splitlines()
        assert {"vllm_canary_success 1", "vllm_canary_failures_in_a_row 0", "vllm_gpu_licensed 0"} <= set(lines)
        assert 'vllm_coldstart_stage_seconds{stage="load"} 1.5' in lines
        assert any(line.startswith("vllm_canary_seconds 0.") for line in lines)
        assert get(f"{url}/")[0] == 404
    finally:
        serving.shutdown()
        serving.server_close()


def test_a_host_without_nvml_tells_nothing_of_licences() -> None:
    assert canary.licensed() is None
