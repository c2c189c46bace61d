# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What endpoints say of themselves, and what the canary beside them says.
"""

from __future__ import annotations

import typing as t

from .._common._errors import AutoscaleError
from ._client import Connection, Pages
from ._metrics import Snapshot
from ._rows import Member, side_by_side


def info_many(
    members: t.Sequence[Member], connection: Connection, *, canary_port: int | None
) -> list[dict[str, t.Any]]:
    """A row for each member; nothing raises, as one that does not answer is an answer."""
    return side_by_side(members, lambda member: _info(member, connection, canary_port))


def _info(member: Member, connection: Connection, canary_port: int | None) -> dict[str, t.Any]:
    row: dict[str, t.Any] = {
        "name": member["name"],
        "address": member["address"],
        "reachable": False,
        "msg": "",
        "version": "",
        "models": [],
        "healthy": False,
        "load": None,
        "running": None,
        "waiting": None,
        "kv_cache": None,
        "ready": None,
        "cold_start": [],
    }
    with connection.client(member["address"]) as pages:
        try:
            row["healthy"] = pages.status("/health")[0] == 200
            row["reachable"] = True
        except AutoscaleError as error:
            row["msg"] = error.message
        if row["reachable"]:
            row["msg"] = "; ".join(_read(pages, row)) or ("healthy" if row["healthy"] else "not healthy")
    if canary_port:
        with connection.client(member["address"], port=canary_port, scheme="http") as canary:
            _ask_canary(canary, row)
    return row


def _read(pages: Pages, row: dict[str, t.Any]) -> list[str]:
    """Fill the row; what could not be read, in words."""
    problems = []

    def fill(read: t.Callable[[], dict[str, t.Any]]) -> None:
        try:
            row.update(read())
        except AutoscaleError as error:
            problems.append(error.message)

    fill(lambda: {"version": pages.version()})
    fill(lambda: {"models": [str(model.get("id")) for model in pages.models()]})
    fill(lambda: {"load": pages.load()})
    fill(lambda: _numbers(pages.snapshot()))
    return problems


def _numbers(engine: Snapshot) -> dict[str, t.Any]:
    return {"running": engine.running, "waiting": engine.waiting, "kv_cache": engine.kv_cache}


def _ask_canary(canary: Pages, row: dict[str, t.Any]) -> None:
    """``ready`` stays ``None`` where nobody says anything."""
    try:
        status, _text = canary.status("/readyz")
        row["ready"] = {200: True, 503: False}.get(status)
        found = canary.json("/coldstart")
        stages = found.get("stages") if isinstance(found, dict) else None
        row["cold_start"] = [_stage(stage) for stage in stages or [] if isinstance(stage, dict)]
    except AutoscaleError:
        return


def _stage(stage: dict[str, t.Any]) -> dict[str, t.Any]:
    return {name: stage.get(name) for name in ("stage", "seconds", "ok", "source")}
