# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vllm_endpoint and vllm_endpoint_info as Ansible runs them, against the stub of vLLM."""

from __future__ import annotations

import contextlib
import http.server
import threading

import pytest
import requests

from lab.vllm_kit import KEY, Endpoint, wait_for

TOKEN_SPEED = {"VLLM_API_KEY": KEY, "VLLM_STUB_TOKENS_PER_SECOND": "200"}


@pytest.fixture(scope="module")
def vllm(tmp_path_factory):
    with Endpoint(tmp_path_factory.mktemp("vllm"), TOKEN_SPEED) as running:
        yield running


@pytest.fixture
def ask(run_module):
    def run(endpoint, state, *, check=False, **options):
        args = {"port": endpoint.port, "api_key": KEY, "wait_interval": 0.2, "state": state, **options}
        args.setdefault("members", members(1))
        return run_module("vllm_endpoint", args, check=check)

    return run


def members(*last):
    return [{"name": f"llm-{number}", "address": f"127.0.0.{number}"} for number in last]


class Client(threading.Thread):
    """A user with one long answer."""

    def __init__(self, endpoint, tokens):
        super().__init__(daemon=True)
        self.endpoint, self.tokens, self.answer = endpoint, tokens, None
        self.start()

    def run(self):
        body = {"prompt": "On and on.", "max_tokens": self.tokens, "ignore_eos": True}
        headers = {"Authorization": f"Bearer {KEY}"}
        with contextlib.suppress(requests.ConnectionError):  # it ends while it is frozen
            self.answer = requests.post(f"{self.endpoint.url}/v1/completions", json=body, headers=headers, timeout=60)


def busy(endpoint, tokens):
    client = Client(endpoint, tokens)
    wait_for(lambda: endpoint.metric("num_requests_running") == 1, "a running request")
    return client


def test_ready_twice(vllm, ask):
    """B2; nothing changes, and nothing does the second time."""
    for _time in range(2):
        result = ask(vllm, "ready", model="tiny")
        assert (result["changed"], result["failed"], result["failed_members"]) == (False, False, [])
        (row,) = result["members"]
        assert (row["name"], row["failed"], row["changed"], row["streams"]) == ("llm-1", False, False, 3)
        assert row["ttft_p95"] > 0
        assert KEY not in str(result["members"])


def test_one_that_does_not_serve_fails_the_call_and_allow_partial_lets_it_pass(vllm, ask):
    here = {"members": members(1, 9), "wait": False, "model": "tiny"}
    result = ask(vllm, "ready", **here)
    assert result["failed"]
    assert "1 of 2 members are not ready: llm-9 (127.0.0.9): connection refused" in result["msg"]
    assert [row["failed"] for row in result["members"]] == [False, True]
    result = ask(vllm, "ready", allow_partial=True, **here)
    assert (result["failed"], result["failed_members"]) == (False, ["llm-9"])


def test_a_wrong_key_is_told_at_once_and_not_shown(vllm, ask):
    result = ask(vllm, "ready", api_key="wrong-key-of-somebody")
    assert result["failed"]
    assert "401" in result["msg"]
    assert "wrong-key-of-somebody" not in str(result)


def test_warmed(vllm, ask):
    warmup = {"prompts": 6, "concurrency": [1, 3], "lengths": [8, 32], "temperatures": [0, 1]}
    result = ask(vllm, "warmed", warmup=warmup)
    assert not result["failed"], result
    (row,) = result["members"]
    assert {batch["concurrency"] for batch in row["batches"]} == {1, 3}
    assert row["streams"] == 12


def test_drained_waits_for_who_is_served_and_fails_at_its_deadline(vllm, ask):
    """B5: the user's answer comes whole."""
    client = busy(vllm, 600)
    result = ask(vllm, "drained", quiet=1, wait_timeout=1)
    assert result["failed"]
    assert "llm-1 (127.0.0.1): still being answered after 1 s: 1 (running 1, waiting 0, load 1)" in result["msg"]
    assert result["members"][0]["running"] == 1
    result = ask(vllm, "drained", quiet=1)
    assert not result["failed"], result
    assert {key: result["members"][0][key] for key in ("load", "running", "waiting", "stalled")} == {
        "load": 0, "running": 0, "waiting": 0, "stalled": False
    }  # fmt: skip
    client.join(10)
    assert client.answer.json()["usage"]["completion_tokens"] == 600


def test_a_frozen_engine(tmp_path, ask, run_module):
    """B2: it fails with a text that names the lie; B5: it serves nobody, so that it can be replaced."""
    with Endpoint(tmp_path, TOKEN_SPEED) as frozen:
        busy(frozen, 900)
        frozen.freeze()
        result = ask(frozen, "ready", model="tiny", first_token=1, wait=False)
        assert "no first token within 1 s while /health says 200" in result["msg"]
        result = ask(frozen, "drained", quiet=1, stall=2)
        assert (result["failed"], result["members"][0]["stalled"]) == (False, True)
        info = run_module("vllm_endpoint_info", {"members": members(1), "port": frozen.port, "api_key": KEY})
        row = info["endpoints"][0]
        assert (row["healthy"], row["running"], row["ready"]) == (True, 1, None)


class Canary(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"stages": [{"stage": "load", "seconds": 2, "ok": true, "source": "journal"}]}'
        self.send_response(503 if self.path == "/readyz" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        """Silent."""


def test_info_of_an_endpoint_its_canary_and_one_that_is_away(vllm, run_module):
    with http.server.HTTPServer(("127.0.0.1", 0), Canary) as canary:
        threading.Thread(target=canary.serve_forever, daemon=True).start()
        args = {"members": members(1, 2), "port": vllm.port, "canary_port": canary.server_address[1], "api_key": KEY}
        first, second = run_module("vllm_endpoint_info", args, check=True)["endpoints"]
        canary.shutdown()
    assert (first["reachable"], first["models"], first["version"], first["ready"]) == (True, ["tiny"], "0.32.0", False)
    assert first["cold_start"] == [{"stage": "load", "seconds": 2, "ok": True, "source": "journal"}]
    assert (second["reachable"], second["healthy"], second["ready"]) == (False, False, None)
    assert "refused" in second["msg"]


@pytest.mark.parametrize("state", ["ready", "warmed", "drained"])
def test_check_mode_asks_nothing(ask, vllm, state):
    result = ask(vllm, state, check=True, members=[{"name": "llm-not-made", "address": "192.0.2.1"}])
    assert (result["changed"], result["failed"]) == (False, False)
    assert [(row["name"], row["msg"]) for row in result["members"]] == [("llm-not-made", "check mode: was not asked")]


def test_no_members_is_no_work(vllm, ask):
    assert ask(vllm, "ready", members=[])["members"] == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tokens": 0}, "tokens: value is 0; allowed: 1 to 1024"),
        ({"consecutive": 0}, "consecutive: value is 0"),
        ({"port": 70000}, "port: value is 70000"),
        ({"first_token": 0}, "first_token: value is 0"),
        ({"quiet": -1}, "quiet: value is -1"),
        ({"warmup": {"concurrency": []}}, "warmup.concurrency: value is []"),
        ({"warmup": {"temperatures": [3]}}, "warmup.temperatures: value is [3.0]"),
        ({"warmup": {"prompt": 3}}, "Unsupported parameters"),
        ({"members": [{"name": "llm-1", "address": ""}]}, "members[0].address: value is empty for llm-1"),
        ({"scheme": "ftp"}, "value of scheme must be one of"),
        ({"state": "healthy"}, "value of state must be one of"),
    ],
)
def test_bad_input(vllm, ask, options, text):
    result = ask(vllm, options.pop("state", "ready"), **options)
    assert result["failed"]
    assert text in result["msg"]
