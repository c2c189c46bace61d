# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service's clients have seen: requests answered, commits acknowledged, rows found again. Nothing of the
collection is asked: its own figures are held against these.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

SETTLE_S = 5.0  # successes that the next failure follows sooner do not end an outage


@dataclasses.dataclass(frozen=True)
class Request:
    """One request of the load: when it was sent, whether it was answered, from which address."""

    at: float
    ok: bool
    by: str = ""


@dataclasses.dataclass(frozen=True)
class Commit:
    """One row that a site has acknowledged: when its INSERT was sent and when the answer was there."""

    site: str
    row: int
    sent: float
    acknowledged: float


def read_requests(path: Path) -> list[Request]:
    """The load generator's lines, by the time of sending; a line that is cut does not count."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    rows = [json.loads(line) for line in lines]
    return sorted((Request(row["at"], row["ok"], row["by"]) for row in rows), key=lambda row: row.at)


def read_commits(path: Path) -> list[Commit]:
    """The checker's lines; a line that is cut does not count."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [Commit(*json.loads(line)) for line in lines]


@dataclasses.dataclass(frozen=True)
class Gap:
    """For how long the service was away. ``lost``: last request served before; ``served``: the first one after."""

    lost: float
    served: float
    failed: int

    @property
    def seconds(self) -> float:
        return self.served - self.lost


def gap(requests: Sequence[Request], since: float, until: float | None = None) -> Gap | None:
    """The outage that began at *since*; ``None`` where every request was served.

    :raises ValueError: when nothing was served before it, or nothing is served since.
    """
    rows = [row for row in requests if until is None or row.at <= until]
    failed = [row for row in rows if row.at >= since and not row.ok]
    if not failed:
        return None
    # It goes on while failures are less than SETTLE_S behind a success.
    last = failed[0]
    for row in failed[1:]:
        between = [good.at for good in rows if good.ok and last.at < good.at < row.at]
        if between and row.at - between[0] >= SETTLE_S:
            break
        last = row
    before = [row.at for row in rows if row.ok and row.at < failed[0].at]
    after = [row.at for row in rows if row.ok and row.at > last.at]
    if not before or not after:
        raise ValueError(f"{len(failed)} requests failed, and none was served {'before' if not before else 'since'}")
    return Gap(before[-1], after[0], sum(1 for row in failed if row.at <= last.at))


def failures(requests: Iterable[Request], since: float, until: float) -> int:
    """Requests that failed in that time."""
    return sum(1 for row in requests if since <= row.at <= until and not row.ok)


def writers(commits: Iterable[Commit], since: float, until: float) -> int:
    """The most sites that took writes at a time.

    One after the other is one. A commit may be on its way while the other site takes over, so what counts against a
    site is a row that was *sent* to it after the other one's newer era had begun and that it acknowledged all the same.
    """
    rows = sorted(
        (row for row in commits if since <= row.sent and row.acknowledged <= until), key=lambda row: row.acknowledged
    )
    first: dict[str, float] = {}
    for row in rows:
        first.setdefault(row.site, row.acknowledged)
    order = sorted(first, key=lambda site: first[site])
    for older, newer in itertools.pairwise(order):
        if any(row.site == older and row.sent > first[newer] for row in rows):
            return 2
    return min(1, len(order))


def lost_rows(commits: Iterable[Commit], found: Iterable[int], site: str, until: float) -> tuple[int, float | None]:
    """Rows that *site* had acknowledged before *until* and that are not *found*; when the newest found one was."""
    there = set(found)
    mine = [row for row in commits if row.site == site and row.acknowledged <= until]
    kept = [row.acknowledged for row in mine if row.row in there]
    return sum(1 for row in mine if row.row not in there), max(kept, default=None)


def served_by(requests: Iterable[Request], addresses: Mapping[str, str]) -> dict[str, int]:
    """Answers by site; *addresses* of the sites."""
    names = {address: site for site, address in addresses.items()}
    counts: dict[str, Any] = dict.fromkeys(addresses, 0)
    for row in requests:
        if row.ok and row.by in names:
            counts[names[row.by]] += 1
    return counts
