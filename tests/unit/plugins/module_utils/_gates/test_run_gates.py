# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members and gates together, on real sockets (invariant 5)."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._gates import run_gates


def http(port: int, **more: t.Any) -> dict[str, t.Any]:
    return {"type": "http", "port": port, **more}


def test_passes_in_a_row_are_counted(make_server: t.Any) -> None:
    """A failure starts the count again."""
    server = make_server()
    server.failures = 2
    members = [{"name": "web-1", "address": "127.0.0.1"}]
    (result,) = run_gates(members, [http(server.port, consecutive=3)], timeout=10, interval=0.02)
    assert result.passed
    assert result.gates[0].attempts == 5
    assert result.msg == "passed 1 gates"


def test_all_gates_must_be_good_at_the_same_time(make_server: t.Any) -> None:
    """A gate that passed early is asked on, until the slowest one is there."""
    fast, slow = make_server(), make_server()
    slow.failures = 4
    members = [{"name": "web-1", "address": "127.0.0.1"}]
    (result,) = run_gates(members, [http(fast.port), http(slow.port)], timeout=10, interval=0.02)
    assert result.passed
    assert len(fast.requests) == len(slow.requests) == 5


def test_one_member_s_failure_touches_no_other(make_server: t.Any) -> None:
    """Rows come in the order of the members, each with its own result and time."""
    good = make_server("127.0.0.2")
    members = [{"name": f"web-{number}", "address": f"127.0.0.{number}"} for number in (3, 2)]
    bad, fine = run_gates(members, [http(good.port)], timeout=0.4, interval=0.05)
    assert (bad.passed, fine.passed) == (False, True)
    assert fine.seconds < bad.seconds
    assert 0.3 < bad.seconds < 10
    assert bad.msg.startswith("web-3 (127.0.0.3) did not pass within 0.")
    assert f"http {good.port} /: connection refused" in bad.msg
    row = bad.as_dict()
    assert (row["failed"], row["changed"], row["gates"][0]["passed"]) == (True, False, False)


def test_members_are_asked_in_parallel(silent_port: int) -> None:
    """Twenty silent members cost the time of one."""
    members = [{"name": f"web-{number}", "address": "127.0.0.1"} for number in range(20)]
    began = time.monotonic()
    results = run_gates(members, [{"type": "tcp", "port": silent_port, "timeout": 1}], timeout=0.5, interval=0.1)
    assert time.monotonic() - began < 9, "one after the other takes 10 s"
    assert not any(result.passed for result in results)


def test_every_member_is_asked_at_least_once(make_server: t.Any) -> None:
    members = [{"name": "web-1", "address": "127.0.0.1"}]
    (result,) = run_gates(members, [http(make_server().port)], timeout=1, interval=0.01)
    assert result.gates[0].attempts == 1
    (result,) = run_gates(members, [http(make_server().port, consecutive=2)], timeout=0, interval=0.01)
    assert (result.passed, result.gates[0].attempts) == (False, 1)


def test_no_members_no_work() -> None:
    assert run_gates([], [http(80)], timeout=5) == []
