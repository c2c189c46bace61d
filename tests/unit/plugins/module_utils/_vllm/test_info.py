# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of an endpoint and its canary."""

from __future__ import annotations

import typing as t

import pytest
from unit.kit.fake_vllm import Server, numbers

from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._client import Connection
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._info import info_many
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._metrics import Snapshot, read_snapshot

MEMBER = {"name": "llm-1", "address": "127.0.0.1"}


def info(server: Server, *, canary: bool = False) -> dict[str, t.Any]:
    port = server.server_address[1] if canary else None
    (row,) = info_many([MEMBER], server.connection, canary_port=port)
    return row


def test_all_of_it(server: Server) -> None:
    server.pages["/load"] = (200, '{"server_load": 3}')
    server.pages["/metrics"] = (200, numbers(2, 1, 5, 0.125))
    server.pages["/readyz"] = (503, "no first token")
    server.pages["/coldstart"] = (
        200,
        '{"stages": [{"stage": "load", "seconds": 2.5, "ok": true, "source": "journal"}]}',
    )
    assert info(server, canary=True) == {
        **MEMBER,
        "reachable": True,
        "msg": "healthy",
        "version": "0.32.0",
        "models": ["tiny"],
        "healthy": True,
        "load": 3,
        "running": 2,
        "waiting": 1,
        "kv_cache": 12.5,
        "ready": False,
        "cold_start": [{"stage": "load", "seconds": 2.5, "ok": True, "source": "journal"}],
    }


def test_the_canary_does_not_get_the_key(server: Server) -> None:
    server.pages["/readyz"] = (200, "")
    assert info(server, canary=True)["ready"] is True
    assert server.keys[-2:] == [None, None]


def test_without_a_canary_ready_is_unknown(server: Server) -> None:
    assert info(server)["ready"] is None


def test_what_cannot_be_read_is_said(server: Server) -> None:
    server.pages["/v1/models"] = (401, "")
    server.pages["/health"] = (503, "")
    row = info(server)
    assert (row["reachable"], row["healthy"], row["version"], row["models"]) == (True, False, "0.32.0", [])
    assert "/v1/models was answered with 401" in row["msg"]


def test_nobody_answers() -> None:
    (row,) = info_many([{"name": "llm-9", "address": "127.0.0.9"}], Connection(port=9), canary_port=9)
    assert (row["reachable"], row["healthy"], row["ready"], row["running"]) == (False, False, None, None)
    assert "refused" in row["msg"]


def test_engines_are_summed() -> None:
    text = "".join(numbers(1, 2, 10, 0.5).replace('engine="0"', f'engine="{engine}"') for engine in (0, 1))
    assert read_snapshot(text.replace("# TYPE vllm:iteration_tokens_total histogram\n", "")) == Snapshot(
        2, 4, 50.0, 20.0
    )


def test_a_page_that_is_none() -> None:
    assert read_snapshot("") == Snapshot()
    with pytest.raises(ValueError, match="html"):
        read_snapshot("<html>hello</html>")
