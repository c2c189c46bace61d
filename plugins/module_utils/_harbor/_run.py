# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Runs of a policy, which Harbor calls executions: started or joined, waited for, judged.
"""

from __future__ import annotations

import calendar
import time
import typing as t

from .._common._errors import BackendDownError, ConflictError, RefusedError, UnsettledError, WaitTimeoutError
from .._common._http import shorten
from .._common._waiter import Waiter
from ._client import Api, Row

PATH = "/replication/executions"
RUNNING, SUCCEED = "InProgress", "Succeed"
ENDED = ("Succeed", "Failed", "Stopped", "Skipped")
COUNTS = ("total", "succeed", "failed", "stopped", "in_progress")
#: How many failed tasks an error names, and how many lines of the log of each.
TASKS_TOLD, LINES_TOLD = 3, 4


class Runs:
    """The runs of one policy."""

    def __init__(self, api: Api, policy: Row) -> None:
        self._api = api
        self._policy = policy
        self.name = policy["name"]

    def newest(self, **query: str) -> t.Iterator[Row]:
        """Its runs, the newest first."""
        what = f"read the runs of the policy {self.name}"
        # Not all of a long history: a page at a time, as far as the caller goes.
        return self._api.pages(what, PATH, policy_id=str(self._policy["id"]), sort="-start_time", **query)

    def running(self) -> Row | None:
        """One that runs now."""
        return next(self.newest(status=RUNNING), None)

    def start(self) -> tuple[Row, bool]:
        """A run: one that is under way, or a new one; and whether it was joined.

        An answer that is lost is looked for: a run that is newer than all before is ours.
        """
        found = self.running()
        if found is not None:
            return found, True
        last = max((row["id"] for row in self._first_page()), default=0)
        what = f"start the policy {self.name}"
        try:
            answer = self._api.call(what, "POST", PATH, {"policy_id": self._policy["id"]})
        except UnsettledError:
            new = [row for row in self._first_page() if row["id"] > last]
            if not new:
                raise
            return max(new, key=lambda row: row["id"]), False
        except ConflictError as error:
            remedy = "Set policy.enabled=true." if "disabled" in error.message else ""
            raise ConflictError(error.message, remedy=remedy) from error
        number = answer.headers.get("Location", "").rpartition("/")[2]
        if number.isdigit():
            return self.get(int(number)), False
        new = [row for row in self._first_page() if row["id"] > last]
        if not new:
            raise BackendDownError(f"Could not {what}: {self._api.name} answered 201, and shows no new run")
        return max(new, key=lambda row: row["id"]), False

    def _first_page(self) -> list[Row]:
        what = f"read the runs of the policy {self.name}"
        query = {"policy_id": str(self._policy["id"]), "sort": "-start_time", "page": "1", "page_size": "10"}
        return self._api.get(what, PATH, **query) or []

    def get(self, number: int) -> Row:
        """By id."""
        return self._api.get(f"read the run {number} of the policy {self.name}", f"{PATH}/{number}")

    def wait(self, run: Row, waiter: Waiter) -> Row:
        """Until it has ended. A Harbor that does not answer for a while is waited for, too.

        :raises WaitTimeoutError: it goes on in Harbor.
        """
        seen, trouble = run, ""

        def look() -> Row:
            nonlocal seen, trouble
            try:
                seen, trouble = self.get(run["id"]), ""
            except BackendDownError as error:
                trouble = error.message
            return seen

        try:
            return waiter.until(
                look,
                lambda row: row["status"] in ENDED and not trouble,
                f"The end of the run {run['id']} of the policy {self.name}",
                remedy="It goes on in Harbor: run again to join it.",
                result=lambda row: {"execution": shown(row)},
            )
        except WaitTimeoutError as error:
            counts = ", ".join(f"{key} {seen.get(key) or 0}" for key in COUNTS)
            raise WaitTimeoutError(
                f"{error.message}; it is {seen['status']} ({counts})" + (f"; last: {trouble}" if trouble else ""),
                remedy=error.remedy,
                result=error.result,
            ) from error

    def judge(self, run: Row, *, allow_empty: bool) -> None:
        """:raises RefusedError: it failed, was stopped, or copied nothing."""
        result = {"execution": shown(run)}
        where = f"The run {run['id']} of the policy {self.name}"
        failed, total = run.get("failed") or 0, run.get("total") or 0
        if run["status"] == SUCCEED and not failed:
            if total or allow_empty:
                return
            raise RefusedError(
                f"{where} succeeded, and nothing matched its filters: nothing was copied",
                remedy="Check policy.filters against what the source holds; allow_empty=true where that may be so.",
                result=result,
            )
        said = shorten(run.get("status_text") or "")
        text = f"{where} ended as {run['status']}, {failed} of {total} tasks failed" + (f": {said}" if said else "")
        raise RefusedError(
            "; ".join([text, *self._failures(run)]),
            remedy="Correct what the messages name, and run again.",
            result=result,
        )

    def _failures(self, run: Row) -> list[str]:
        """The first failed tasks, each with the end of its log."""
        told = []
        try:
            what = f"read the tasks of the run {run['id']}"
            for task in self._api.pages(what, f"{PATH}/{run['id']}/tasks", status="Failed"):
                log = self._api.text(f"read the log of task {task['id']}", f"{PATH}/{run['id']}/tasks/{task['id']}/log")
                lines = [line for line in log.splitlines() if line.strip()][-LINES_TOLD:]
                told.append(f"{task.get('src_resource')} to {task.get('dst_resource')}: {shorten(' | '.join(lines))}")
                if len(told) == TASKS_TOLD:
                    break
        except (BackendDownError, RefusedError) as error:
            told.append(f"its log cannot be read: {error.message}")
        return told


def seconds(text: str | None) -> float | None:
    """A time of Harbor's; ``None`` for the one that means never."""
    if not text or text.startswith("0001-"):
        return None
    try:
        whole = calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None
    fraction = text[19:].rstrip("Z").partition("+")[0]
    return whole + (float(fraction) if fraction.startswith(".") and fraction[1:].isdigit() else 0.0)


def shown(run: Row | None) -> Row | None:
    """For a result."""
    if run is None:
        return None
    times = {key: run.get(key) if seconds(run.get(key)) is not None else None for key in ("start_time", "end_time")}
    counts = {key: run.get(key) or 0 for key in COUNTS}
    text = {"trigger": run.get("trigger") or "", "status_text": run.get("status_text") or ""}
    return {"id": run["id"], "status": run["status"], **counts, **times, **text}


def last_success(runs: Runs) -> Row | None:
    """The last run that copied something and failed nowhere; what the age of a backup counts from."""
    for run in runs.newest(status=SUCCEED):
        if run.get("total") and not run.get("failed"):
            return shown(run)
    return None
