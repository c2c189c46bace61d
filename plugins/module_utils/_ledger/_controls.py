# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What may be done at all in a group: processes that somebody suspended, and the breaker of its launches (invariant 8).

What the breaker's states mean stands in the planner; the ledger only keeps them.
"""

from __future__ import annotations

import typing as t

from ._journal import Journal
from ._locks import Row, one
from ._rows import breaker_row, suspended_rows
from ._schema import HAS_SQLALCHEMY, tables

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

PROCESSES = ("launch", "terminate", "replace")
BREAKER_STATES = ("closed", "open", "probing")


def expand(processes: t.Iterable[str]) -> list[str]:
    """Names of *processes*, sorted; ``all`` is every one. :raises ValueError: for one that does not exist."""
    wanted = set(processes)
    unknown = wanted.difference(PROCESSES, ("all",))
    if unknown:
        raise ValueError(f"processes are {PROCESSES} or all, not {', '.join(sorted(unknown))}")
    return sorted(PROCESSES if "all" in wanted else wanted)


class Controls(Journal):
    """Read and set what a group may do."""

    def controls(self, group: str) -> Row:
        """``{"suspended": [names, sorted], "breaker": {state, failures, opened_at, probe_at, probes} or None}``."""
        with self.read() as connection:
            suspended = [row["process"] for row in suspended_rows(connection, group)]
            return {"suspended": suspended, "breaker": breaker_row(connection, group)}

    def save_breaker(self, group: str, breaker: t.Mapping[str, t.Any] | None) -> None:
        """Store *breaker* (keys as in :meth:`controls`); ``None`` forgets it: closed, nothing counted."""
        with self.write() as connection:
            self._save_breaker(connection, group, breaker)

    def suspend(self, group: str, processes: t.Iterable[str], by: str = "", reason: str = "") -> Row:
        """Suspend *processes*; those that already are keep their time and reason.

        :returns: ``{"changed": bool, "processes": [suspended by this call], "breaker_closed": False}``.
        """
        wanted = expand(processes)
        with self.write() as connection:
            known = {row["process"] for row in suspended_rows(connection, group)}
            done = [process for process in wanted if process not in known]
            for process in done:
                row = {"group_name": group, "process": process, "since": self.clock(), "by": by, "reason": reason}
                connection.execute(sa.insert(tables.suspensions).values(**row))
            if done:
                self._process_event(connection, group, "suspended", by, reason, f"{', '.join(done)} suspended")
        return {"changed": bool(done), "processes": done, "breaker_closed": False}

    def resume(self, group: str, processes: t.Iterable[str], by: str = "", reason: str = "") -> Row:
        """Let *processes* go on. With ``launch``, the breaker is closed and its count forgotten: a person has looked.

        :returns: ``{"changed": bool, "processes": [resumed by this call], "breaker_closed": bool}``.
        """
        wanted = expand(processes)
        with self.write() as connection:
            known = {row["process"] for row in suspended_rows(connection, group)}
            done = [process for process in wanted if process in known]
            rows = tables.suspensions.c
            connection.execute(sa.delete(tables.suspensions).where(rows.group_name == group, rows.process.in_(done)))
            breaker = breaker_row(connection, group) if "launch" in wanted else None
            closed = breaker is not None and (breaker["state"] != "closed" or bool(breaker["failures"]))
            if breaker is not None:
                self._save_breaker(connection, group, None)
            if done or closed:
                said = [f"{', '.join(done)} resumed"] if done else []
                said += [f"breaker closed (it was {breaker['state']})"] if closed else []
                self._process_event(connection, group, "resumed", by, reason, "; ".join(said))
        return {"changed": bool(done) or closed, "processes": done, "breaker_closed": closed}

    # ---- inside a transaction

    def _process_event(
        self, connection: sa.Connection, group: str, code: str, by: str, reason: str, message: str
    ) -> None:
        self._insert_event(
            connection,
            group_name=group,
            kind="process",
            source="person",
            reason=reason,
            code=code,
            result="succeeded",
            members=[],
            steps=[],
            message=f"{message} by {by}" if by else message,
        )

    def _save_breaker(self, connection: sa.Connection, group: str, breaker: t.Mapping[str, t.Any] | None) -> bool:
        """Store *breaker*; whether that opened it. A probe that failed opens nothing: it never was closed."""
        where = tables.breakers.c.group_name == group
        if breaker is None:
            connection.execute(sa.delete(tables.breakers).where(where))
            return False
        state = breaker["state"]
        if state not in BREAKER_STATES:
            raise ValueError(f"state of a breaker must be one of {BREAKER_STATES}, not {state!r}")
        before = one(connection, tables.breakers, where)
        values = {
            "state": state,
            "failures": [dict(row) for row in breaker.get("failures") or ()],
            "opened_at": breaker.get("opened_at"),
            "probe_at": breaker.get("probe_at"),
            "probes": breaker.get("probes") or 0,
            "updated_at": self.clock(),
        }
        self.upsert(connection, tables.breakers, {"group_name": group}, values)
        return state == "open" and (before is None or before["state"] == "closed")
