# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

How old the copies are that policies made.
"""

from __future__ import annotations

import typing as t

from ._client import Api, Row
from ._policy import Policies, shown
from ._registry import Registries
from ._run import Runs, last_success, seconds
from ._run import shown as shown_run


def describe(api: Api, names: t.Sequence[str] | None, *, ping: bool) -> list[Row]:
    """A row a policy: what it is, its last run, its last success and the age of that.

    :param names: only these; a name that no policy has gives no row.
    :param ping: ask Harbor whether it reaches the other side now.
    """
    policies, registries = Policies(api), Registries(api)
    wanted = policies.all() if names is None else [row for row in map(policies.find, names) if row]
    rows = []
    for live in wanted:
        runs = Runs(api, live)
        success = last_success(runs)
        row: Row = {**(shown(live) or {}), "last": shown_run(next(runs.newest(), None)), "last_success": success}
        began = seconds(success["start_time"]) if success else None
        row["age"] = None if began is None else round(max(0.0, api.clock() - began), 3)
        if ping:
            row["unreachable"] = _unreachable(registries, row["registry"])
        rows.append(row)
    return rows


def _unreachable(registries: Registries, name: str) -> str:
    live = registries.find(name)
    return f"there is no registry {name}" if live is None else registries.ping(live)
