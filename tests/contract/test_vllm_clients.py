# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two clients of a vLLM endpoint, stub or real: OpenAI's own, which we did not write, and the collection's."""

from __future__ import annotations

import threading

import openai
import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._waiter import Waiter
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm import (
    Connection,
    drain_many,
    info_many,
    ready_many,
    warm_many,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._ready import Gate
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._warm import WarmUp
from lab.vllm_kit import KEY, PATIENCE, Endpoint, wait_for

EXACT = {"ignore_eos": True}
MEMBER = {"name": "llm-1", "address": "127.0.0.1"}


@pytest.fixture(scope="module")
def vllm(tmp_path_factory):
    with Endpoint(tmp_path_factory.mktemp("vllm"), {"VLLM_API_KEY": KEY}, max_num_queued_reqs=6) as running:
        yield running


@pytest.fixture
def client(vllm):
    with openai.OpenAI(base_url=f"{vllm.url}/v1", api_key=KEY, max_retries=0, timeout=120) as session:
        yield session


@pytest.fixture
def connection(vllm):
    return Connection(port=vllm.port, api_key=KEY)


class Load(threading.Thread):
    """One long stream of the other client."""

    def __init__(self, client, tokens):
        super().__init__(daemon=True)
        self.client, self.tokens, self.finish = client, tokens, None
        self.start()

    def run(self):
        asked = {"model": "tiny", "prompt": "On and on.", "max_tokens": self.tokens, "extra_body": EXACT}
        try:
            for part in self.client.completions.create(**asked, stream=True):
                self.finish = part.choices[0].finish_reason
        except openai.APIConnectionError:
            self.finish = "cut"
        except openai.APIError:
            self.finish = "refused"


# OpenAI's client


def test_openai_models(client):
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_openai_a_whole_chat(client):
    hello = [{"role": "user", "content": "Say hello."}]
    answer = client.chat.completions.create(model="tiny", messages=hello, max_tokens=9, extra_body=EXACT)
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 9)
    assert answer.choices[0].message.role == "assistant"


@pytest.mark.parametrize("chat", [False, True])
def test_openai_streams(client, chat):
    usage = {"stream_options": {"include_usage": True}}
    if chat:
        hello = [{"role": "user", "content": "Say hello."}]
        parts = list(
            client.chat.completions.create(
                model="tiny", messages=hello, max_tokens=9, stream=True, extra_body=EXACT, **usage
            )
        )
        assert parts[0].choices[0].delta.role == "assistant"
    else:
        parts = list(
            client.completions.create(
                model="tiny", prompt="Say hello.", max_tokens=9, stream=True, extra_body=EXACT, **usage
            )
        )
    assert parts[-1].usage.completion_tokens == 9
    assert parts[-2].choices[0].finish_reason == "length"
    assert len({part.id for part in parts}) == 1


def test_openai_errors(vllm, client):
    with pytest.raises(openai.NotFoundError, match="other"):
        client.completions.create(model="other", prompt="hello")
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        client.completions.create(model="tiny", prompt="hello", max_tokens=0)
    stranger = openai.OpenAI(base_url=f"{vllm.url}/v1", api_key="wrong", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()


# The collection's client


def test_ready(connection):
    """B2."""
    (row,) = ready_many([MEMBER], connection, Gate(first_token=60, deadline=120), None)
    assert (row.failed, row.more["streams"]) == (False, 3), row.msg


def test_ready_with_a_wrong_key(vllm):
    gate = Gate(model="tiny", first_token=60)
    (row,) = ready_many([MEMBER], Connection(port=vllm.port, api_key="wrong"), gate, lambda: Waiter(PATIENCE))
    assert (row.failed, row.msg) == (True, "status 401: Unauthorized")


def test_ready_with_a_full_queue(vllm, client, connection):
    """Eight users who ask again and again keep six places full; whether one is told by status or stream is chance."""
    over = threading.Event()

    def user():
        while not over.is_set():
            Load(client, 200).join()

    users = [threading.Thread(target=user, daemon=True) for _number in range(8)]
    for one in users:
        one.start()
    try:
        (row,) = ready_many([MEMBER], connection, Gate(model="tiny", consecutive=100, first_token=60), None)
    finally:
        over.set()
        for one in users:
            one.join(120)
    assert row.failed
    assert "The engine is currently busy" in row.msg


def test_warm(connection):
    plan = WarmUp(prompts=8, concurrency=(1, 4), lengths=(16, 5000), temperatures=(0.0, 0.7))
    (row,) = warm_many([MEMBER], connection, plan, lambda: Waiter(PATIENCE))
    assert not row.failed, row.msg
    assert {batch["concurrency"] for batch in row.more["batches"]} == {1, 4}
    assert row.more["streams"] >= 12


def test_drained_waits_for_the_last_stream_and_cuts_none(vllm, client, connection):
    """B5."""
    load = Load(client, 900)
    wait_for(lambda: vllm.metric("num_requests_running") == 1, "a running request")
    early = drain_many([MEMBER], connection, quiet=1, stall=60, waiter=None)[0]
    assert (early.failed, early.more["running"], early.more["load"]) == (True, 1, 1)
    (row,) = drain_many([MEMBER], connection, quiet=1, stall=60, waiter=lambda: Waiter(PATIENCE, 0.2))
    assert (row.failed, row.msg) == (False, "idle for 1 s")
    load.join(1)
    assert load.finish == "length"


def test_info(connection):
    (row,) = info_many([MEMBER], connection, canary_port=None)
    assert (row["healthy"], row["models"], row["load"], row["running"]) == (True, ["tiny"], 0, 0)
    assert row["version"].startswith("0.32.0")


def test_a_frozen_engine(tmp_path):
    """B2, B5: it is not ready, and it serves nobody."""
    with Endpoint(tmp_path) as frozen:
        connection = Connection(port=frozen.port)
        with openai.OpenAI(base_url=f"{frozen.url}/v1", api_key="none", max_retries=0) as client:
            load = Load(client, 900)
            wait_for(lambda: frozen.metric("num_requests_running") == 1, "a running request")
            frozen.freeze()
            (row,) = ready_many([MEMBER], connection, Gate(model="tiny", first_token=2), None)
            assert (row.failed, row.msg) == (True, "no first token within 2 s while /health says 200")
            (row,) = drain_many([MEMBER], connection, quiet=1, stall=3, waiter=lambda: Waiter(PATIENCE, 0.5))
            assert (row.failed, row.more["running"], row.more["stalled"]) == (False, 1, True)
            assert load.finish is None
            frozen.stop()
            load.join(60)
            assert load.finish == "cut"
