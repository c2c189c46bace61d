# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix of the ledger: in PostgreSQL, behind the proxy's TCP mode; every transaction that a play writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from lab.faults.spawn import FaultProxy
from lab.postgres import Postgres

from .matrix_cells import LEDGER_FAULTS, PLAYS, Call, Result
from .matrix_plays import Plays
from .matrix_worker import VARIABLES, Worker

HEARTBEAT = "COMMIT (UPDATE locks)"  # comes by the clock and not by the step
LOCK_TTL_S = 8


class LedgerWorker(Worker):
    """A worker whose ledger is a database of a server of its own; the checks read it past the proxy."""

    faults = LEDGER_FAULTS
    variables = {**VARIABLES, "lock_ttl": LOCK_TTL_S}

    def __init__(self, index: int, out: Path, plays: Plays) -> None:
        super().__init__(index, out / "ledger", plays)
        self.server = Postgres.temporary()
        self.database = ""
        self._made = 0
        self.site.rows = self._rows  # type: ignore[method-assign]

    def up(self) -> None:
        if not self.server.running():
            self.server.start()
        self._made += 1
        self.database = f"ledger{self._made}"
        self.server.create_database(self.database)
        super().up()
        for direction in ("out", "in"):  # an empty ledger is written differently: a first cooldown is no update
            self.undisturbed(direction)

    def down(self) -> None:
        super().down()
        self.server.remove()

    def more_listeners(self) -> list[dict[str, Any]]:
        upstream = f"127.0.0.1:{self.server.port}"
        return [{"name": "ledger", "mode": "tcp", "upstream": upstream, "labels": "postgresql"}]

    def description(self, proxy: FaultProxy) -> dict[str, Any]:
        return {
            **super().description(proxy),
            "ledger": self.server.url(self.database, port=proxy.ports["ledger"]),
        }

    def rows_of(self, direction: str, calls: list[dict[str, Any]]) -> list[Call]:
        """The connection, and each commit that wrote something, one row for each time."""
        return [
            Call(direction, "ledger", call["call"], False, number)
            for call in calls
            if call["listener"] == "ledger" and _counts(call["call"])
            for number in range(1, (1 if call["call"] == "connect" else call["count"]) + 1)
        ]

    def read_event(self, play: str, last: int, result: Result) -> None:
        """A play that lost its ledger cannot say so there; what has to hold is that nothing succeeds twice."""
        if result.play_rc is None:
            result.why.append("the play did not end")
        rows = self._events(play, last)
        if rows:
            result.result, result.code = rows[-1]["result"], rows[-1]["code"]
            result.message = (rows[-1]["message"] or "")[:300]
        if result.play_rc == 0 and result.result not in ("succeeded", "refused"):
            result.why.append(f"the play ended well, its event says {result.result or 'nothing'}")

    def after(self, play: str, last: int, result: Result) -> None:
        done = [row for row in self._events(play, last) if row["result"] == "succeeded"]
        if len(done) > 1:
            result.why.append(f"the action succeeded {len(done)} times")

    def _events(self, play: str, last: int) -> list[dict[str, Any]]:
        rows = self.site.rows("select * from events order by id")
        return [row for row in rows if row["id"] > last and row["kind"] == PLAYS[play]]

    def _rows(self, query: str) -> list[dict[str, Any]]:
        with self.server.connect(self.database, row_factory=dict_row) as connection:
            found = connection.execute(query).fetchall()
        return json.loads(json.dumps(found, default=str))


def _counts(label: str) -> bool:
    return label == "connect" or (label.startswith("COMMIT (") and label != HEARTBEAT)
