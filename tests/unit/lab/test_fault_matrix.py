# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix itself: what its cells are, what it watches for, and what its tables say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from chaos import matrix_report
from chaos.matrix_cells import FAULTS, Call, Cell, Pool, Result, cells, chosen, rows_seen, sample
from chaos.matrix_watch import Watch

READ = Call("out", "vcenter", "RetrieveServiceContent", True)
WRITE = Call("in", "bigip", "PATCH /mgmt/tm/transaction/{id}", False)


def seen(listener: str, call: str, read: bool = False) -> dict[str, Any]:
    return {"listener": listener, "call": call, "read": read, "fault": "", "status": "200", "count": 1}


def test_rows_are_what_was_seen_once_each() -> None:
    calls = [seen("bigip", "GET /x", True), seen("vcenter", "Login"), seen("bigip", "GET /x", True)]
    assert rows_seen("out", calls) == [Call("out", "vcenter", "Login", False), Call("out", "bigip", "GET /x", True)]


def test_a_row_for_each_time_a_call_was_made() -> None:
    calls = [
        {**seen("bigip", "POST /x"), "count": 2},
        seen("bigip", "PATCH /x"),
        {**seen("bigip", "GET /x"), "count": 99},
    ]
    names = [row.name for row in rows_seen("in", calls, each=True)]
    assert names == ["POST /x #1", "POST /x #2", "PATCH /x", "GET /x #1", "GET /x #2", "GET /x #3", "GET /x #4"]


def test_every_fault_meets_every_call_unless_it_means_nothing() -> None:
    found = {(cell.call, cell.fault.name) for cell in cells([READ, WRITE])}
    names = {fault.name for fault in FAULTS}
    assert {name for call, name in found if call == READ} == names - {"apply-status"}
    assert {name for call, name in found if call == WRITE} == names - {"stale"}
    assert cells([READ, WRITE])[-1].fault.name == "stale", "a worker has to have seen older answers"


def test_a_sample_has_each_call_once_and_many_faults() -> None:
    rows = [Call("out", "bigip", str(number), False) for number in range(12)]
    some = sample(cells(rows))
    assert sorted(int(cell.call.call) for cell in some) == list(range(12))
    assert len({cell.fault.name for cell in some}) == len(FAULTS) - 1


def test_a_part_is_chosen_by_pattern_or_by_name() -> None:
    rows = [READ, WRITE]
    assert chosen(rows, "bigip:*") == [WRITE]
    assert chosen(rows, "out/*") == [READ]
    assert chosen(rows, "bigip:PATCH /mgmt/tm/transaction/{id}") == [WRITE]
    assert chosen(rows, "prometheus:*") == []


def test_workers_take_what_fits_their_group_and_share_all_cells() -> None:
    todo = cells([READ, WRITE])
    pool = Pool(todo)
    assert pool.take(1).call == WRITE
    assert pool.take(0).call == READ
    rest: Iterator[Cell | None] = iter(lambda: pool.take(0), None)
    assert len(list(rest)) == len(todo) - 2


def vm(name: str, address: str, power: str = "poweredOn") -> dict[str, Any]:
    return {"name": name, "address": address, "power": power}


def member(address: str, session: str = "monitor-enabled") -> dict[str, Any]:
    return {"address": address, "session": session}


VMS = [vm("web-base-1", "a"), vm("web-base-2", "b"), vm("web-golden", "", "poweredOff")]
MEMBERS = [member("a"), member("b")]


@pytest.mark.parametrize(
    ("vms", "members", "text"),
    [
        (VMS, MEMBERS, None),
        ([*VMS, vm("web-1", "c")], [*MEMBERS, member("c", "user-disabled")], None),
        ([*VMS, vm("web-1", "c"), vm("web-2", "d")], MEMBERS, "4 VMs, the maximum is 3"),
        (VMS, [member("a"), member("b", "user-disabled")], "1 members enabled, the minimum is 2"),
        (VMS, [*MEMBERS, member("c")], "member c is enabled without a running VM"),
        ([*VMS, vm("web-1", "c", "poweredOff")], [*MEMBERS, member("c")], "member c is enabled without"),
    ],
)
def test_the_watch_sees_invariants_1_2_and_4(vms: list[Any], members: list[Any], text: str | None) -> None:
    watch = Watch(None, {"min": 2, "max": 3})  # type: ignore[arg-type]
    for _time in range(2):
        watch.look(vms, members)
    assert watch.seen == [] if text is None else (len(watch.seen) == 1 and text in watch.seen[0])


def test_tables_and_files(tmp_path) -> None:
    refuse, stale = FAULTS[0], FAULTS[-1]
    results = {
        (READ, "refuse"): Result(Cell(READ, refuse), applied=1, play_rc=2, result="failed"),
        (WRITE, "refuse"): Result(Cell(WRITE, refuse), applied=1, play_rc=2, result="failed", reconciled=True),
        (READ, "stale"): Result(Cell(READ, stale), applied=1, play_rc=0, why=["4 VMs <too many>"]),
    }
    text = matrix_report.table([READ, WRITE], results).splitlines()
    assert "= 500" in text[1]
    assert text[1].split()[-1] == "FAIL"
    assert "ok+r" in text[2]
    assert text[2].split()[-1] == "n/a"
    matrix_report.write(tmp_path, [READ, WRITE], results, {"date": "today"})
    data = json.loads((tmp_path / "matrix.json").read_text())
    assert (data["cells"], data["ok"], data["failed"], data["reconciled"]) == (3, 2, 1, 1)
    assert {row["fault"] for row in data["rows"]} == {"refuse", "stale"}
    faults = json.loads((tmp_path / "faults.json").read_text())
    assert [row["ok"] for row in faults] == [True, True, False]
    assert set(faults[0]) == {"call", "fault", "ok"}
    assert "4 VMs &lt;too many&gt;" in (tmp_path / "matrix.html").read_text()
    matrix_report.write(tmp_path, [READ], {}, {}, "-part")
    assert json.loads((tmp_path / "matrix.json").read_text())["cells"] == 3, "a part does not hide a whole run"
