# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

When a series was last 1, and next 1 again, from its raw samples. query_range would answer with steps and look back
over holes: a second is what is wanted to be known here.
"""

from __future__ import annotations

import statistics
import typing as t
from dataclasses import asdict, dataclass

from .._common._errors import InvalidSpecError
from .._common._http import ResponseError
from ._client import PrometheusClient

# So many sample intervals without a sample are a hole: one scrape may be late, and one may be lost.
HOLE = 4.0

Sample = tuple[float, bool]


@dataclass(frozen=True)
class Outage:
    """A run of failures. ``None``: no success was seen before, or none since."""

    lost_at: float | None
    served_at: float | None
    failed_at: float
    failures: int
    unknown_s: float


@dataclass(frozen=True)
class Seen:
    """What the samples say."""

    outages: tuple[Outage, ...]
    sample_s: float
    seen_until: float | None
    now: float

    @property
    def blind(self) -> bool:
        """Whether the watching itself has ended: what is, nobody knows."""
        return self.seen_until is None or self.now - self.seen_until > max(HOLE * self.sample_s, 5.0)

    def as_dict(self) -> dict[str, t.Any]:
        """For the module's result; the newest outage stands alone, too."""
        newest = self.outages[-1] if self.outages else None
        return {
            "lost_at": newest.lost_at if newest else None,
            "served_at": newest.served_at if newest else None,
            "failing": newest is not None and newest.served_at is None and not self.blind,
            "blind": self.blind,
            "sample_s": self.sample_s,
            "seen_until": self.seen_until,
            "outages": [asdict(outage) for outage in self.outages],
        }


def samples(
    client: PrometheusClient, selector: str, lookback: float, since: float | None = None
) -> tuple[list[dict[str, t.Any]], float]:
    """Raw samples: rows ``{labels, values: [(time, text)]}``, and the server's own time, which the samples have.

    :raises InvalidSpecError: the selector is none, in Prometheus' own words.
    """
    try:
        now = float(client.get("query", query="time()")["result"][1])
        # What was lost just before `since` was served last before it.
        seconds = lookback if since is None else max(lookback, now - since + 60)
        found = client.get("query", query=f"{selector}[{max(1, round(seconds * 1000))}ms]", time=repr(now))
    except ResponseError as error:
        raise InvalidSpecError(
            f"Prometheus does not take the selector {selector}: {error.text}",
            remedy='Give the selector of a series, such as probe_success{job="shop"}, without a range and functions.',
        ) from error
    rows = [
        {"labels": row["metric"], "values": [(float(at), str(value)) for at, value in row["values"]]}
        for row in found["result"]
    ]
    return rows, now


def merge(rows: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[list[Sample], float]:
    """One line of samples of all series, and the seconds between two samples of a series.

    With several series the service is there while one of them says so: who watches from a dead place sees nothing.
    """
    intervals = []
    events: list[tuple[float, int, bool]] = []
    for row_number, row in enumerate(rows):
        times = [at for at, _value in row["values"]]
        intervals += [times[number] - times[number - 1] for number in range(1, len(times))]
        events += [(at, row_number, _one(value)) for at, value in row["values"]]
    interval = round(statistics.median(intervals), 3) if intervals else 0.0
    latest: dict[int, Sample] = {}
    line: list[Sample] = []
    for at, number, good in sorted(events):
        latest[number] = (at, good)
        current = [state for seen, state in latest.values() if not interval or at - seen <= HOLE * interval]
        line.append((at, any(current)))
    return line, interval


def _one(value: str) -> bool:
    try:
        return float(value) == 1.0
    except ValueError:
        return False


def outages(
    line: t.Sequence[Sample], interval: float, since: float | None = None, settle: float = 0.0
) -> tuple[Outage, ...]:
    """Runs of failures that had not ended before *since*, the oldest first.

    A hole between two successes is no outage. A hole within one counts as lost, and its seconds are told as unknown.
    Successes that lasted for less than *settle* seconds before the next failure do not end an outage.
    """
    found: list[Outage] = []
    for row in _runs(line, interval):
        last = found[-1] if found else None
        if last is not None and last.served_at is not None and row.failed_at - last.served_at < settle:
            found[-1] = Outage(
                last.lost_at,
                row.served_at,
                last.failed_at,
                last.failures + row.failures,
                round(last.unknown_s + row.unknown_s, 3),
            )
        else:
            found.append(row)
    # A sample's time is when the scrape began: what ended at `since` itself is the one that is asked for.
    return tuple(row for row in found if since is None or row.served_at is None or row.served_at >= since)


def _runs(line: t.Sequence[Sample], interval: float) -> t.Iterator[Outage]:
    lost_at: float | None = None
    failed_at: float | None = None
    before: float | None = None
    failures, unknown = 0, 0.0
    for at, good in line:
        hole = at - before if before is not None and interval and at - before > HOLE * interval else 0.0
        before = at
        if not good:
            if failed_at is None:
                failed_at, failures, unknown = at, 0, 0.0
            failures += 1
            unknown += hole
            continue
        if failed_at is not None:
            yield Outage(lost_at, at, failed_at, failures, round(unknown + hole, 3))
        lost_at, failed_at = at, None
    if failed_at is not None:
        yield Outage(lost_at, None, failed_at, failures, round(unknown, 3))


def look(
    client: PrometheusClient, selector: str, lookback: float, since: float | None = None, settle: float = 0.0
) -> dict[str, t.Any]:
    """All of it, as the module returns it."""
    rows, now = samples(client, selector, lookback, since)
    line, interval = merge(rows)
    seen = Seen(outages(line, interval, since, settle), interval, line[-1][0] if line else None, now)
    return {**seen.as_dict(), "series": [row["labels"] for row in rows]}
