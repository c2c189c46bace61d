# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ready and warm, against a scripted endpoint (B2)."""

from __future__ import annotations

import typing as t

import pytest
from unit.kit.fake_vllm import Server, event, good

from ansible_collections.onprem.autoscale.plugins.module_utils._common._waiter import Waiter
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._ready import Gate, ready_many
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._rows import Row, p95
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._warm import WarmUp, warm_many

MEMBER = {"name": "llm-1", "address": "127.0.0.1"}


def ready(server: Server, waiter: t.Any = None, **options: t.Any) -> Row:
    (row,) = ready_many([MEMBER], server.connection, Gate(**{"tokens": 2, "first_token": 2.0, **options}), waiter)
    return row


def soon() -> Waiter:
    return Waiter(20, 0.01)


def test_streams_in_a_row(server: Server) -> None:
    row = ready(server)
    assert (row.failed, row.msg, row.more["streams"]) == (False, "3 streams of 2 tokens in a row", 3)
    assert row.more["ttft_p95"] > 0
    assert set(server.keys) == {"Bearer secret"}


def test_the_second_and_later_ones_sample_and_are_unknown_to_caches(server: Server) -> None:
    """A cache of prefixes would hide the prefill, and temperature 0 alone leaves the sampler cold."""
    ready(server, model="tiny")
    first, *later = server.requests
    assert first["temperature"] == 0
    assert all(request["temperature"] > 0 for request in later)
    assert len({request["prompt"] for request in server.requests}) == 3
    assert all(len(request["prompt"]) > 5 * len(first["prompt"]) for request in later)


def test_a_failure_starts_the_count_again(server: Server) -> None:
    scripts = [good(2), good(2), [event()], good(2), good(2), good(2)]
    server.stream = lambda _request: scripts[len(server.requests) - 1]
    row = ready(server, soon)
    assert (row.failed, len(server.requests)) == (False, 6)


def test_a_frozen_engine_fails_and_the_text_says_that_it_looks_healthy(server: Server) -> None:
    server.stream = lambda _request: [5.0]
    row = ready(server, first_token=0.2)
    assert (row.failed, row.msg) == (True, "no first token within 0.2 s while /health says 200")
    assert row.more == {"streams": 0, "ttft_p95": None}


def test_a_wrong_key_is_not_tried_again(server: Server) -> None:
    server.stream = lambda _request: (401, '{"error": "Unauthorized"}')
    row = ready(server, soon, model="tiny")
    assert (row.failed, row.msg, len(server.requests)) == (True, "status 401: Unauthorized", 1)


def test_without_a_name_the_key_is_already_refused_at_the_models(server: Server) -> None:
    server.pages["/v1/models"] = (401, "")
    row = ready(server, soon)
    assert row.failed
    assert "401" in row.msg
    assert not server.requests


def test_no_model_is_named(server: Server) -> None:
    server.pages["/v1/models"] = (200, '{"data": []}')
    assert ready(server).msg == "/v1/models names no model"


def test_members_side_by_side_keep_their_order(server: Server) -> None:
    members = [{"name": f"llm-{last}", "address": f"127.0.0.{last}"} for last in (2, 1, 3)]
    rows = ready_many(members, server.connection, Gate(tokens=2), None)
    assert [(row.name, row.failed) for row in rows] == [("llm-2", True), ("llm-1", False), ("llm-3", True)]


def warm(server: Server, **options: t.Any) -> Row:
    plan = WarmUp(tokens=2, **options)
    (row,) = warm_many([MEMBER], server.connection, plan, lambda: Waiter(20))
    return row


def test_the_warm_up_varies_length_temperature_and_concurrency(server: Server) -> None:
    row = warm(server, prompts=12, concurrency=(1, 3), lengths=(8, 16), temperatures=(0.0, 1.0))
    assert not row.failed
    kinds = {(len(request["prompt"]), request["temperature"]) for request in server.requests}
    assert kinds == {(8, 0), (8, 1), (16, 0), (16, 1)}
    assert {batch["concurrency"] for batch in row.more["batches"]} == {1, 3}
    assert row.more["streams"] == len(server.requests)


def test_the_warm_up_ends_when_the_first_token_settles(server: Server) -> None:
    """The first request is slow, as one that compiles; the third batch is as fast as the second."""
    server.stream = lambda request: [*([0.6] if len(server.requests) == 1 else [0.1]), *good(request["max_tokens"])]
    row = warm(server, prompts=100, concurrency=(1,), lengths=(8,), temperatures=(0.0, 1.0))
    first, second, *_later = row.more["batches"]
    assert first["ttft_p95"] > second["ttft_p95"]
    assert "has not settled" not in row.msg
    assert row.more["streams"] < 100


def test_one_batch_cannot_settle_and_that_is_no_failure(server: Server) -> None:
    row = warm(server, prompts=2, concurrency=(1,), lengths=(8,), temperatures=(0.0, 1.0))
    assert not row.failed
    assert "has not settled at concurrency 1" in row.msg


def test_no_prompts_is_no_warm_up(server: Server) -> None:
    assert (warm(server, prompts=0).more["streams"], server.requests) == (0, [])


def test_lengths_are_cut_to_what_the_model_takes(server: Server) -> None:
    warm(server, prompts=1, concurrency=(1,), lengths=(5000,), temperatures=(0.0,))
    assert len(server.requests[0]["prompt"]) == 126


def test_a_request_that_fails_fails_the_warm_up(server: Server) -> None:
    server.stream = lambda _request: [event(finish="abort")]
    row = warm(server)
    assert row.failed
    assert "abort" in row.msg or "cut" in row.msg


@pytest.mark.parametrize(("values", "expected"), [([], None), ([3.0], 3.0), (list(map(float, range(1, 101))), 95.0)])
def test_p95(values: list[float], expected: float | None) -> None:
    assert p95(values) == expected
