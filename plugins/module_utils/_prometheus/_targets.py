# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One file_sd file: read, changed and written whole under its lock; then Prometheus is asked what it made of it.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from .._common import _atomic_file
from .._common._errors import AutoscaleError, BackendDownError, InvalidSpecError, NotFoundError, WaitTimeoutError
from .._common._waiter import Waiter
from . import _target_file
from ._client import PrometheusClient


@dataclass(frozen=True)
class TargetFile:
    """What is wanted. ``targets`` are rows ``{address, labels}``; ``None`` with ``absent`` means the whole file.

    ``exact`` removes only targets that carry all labels of ``scope``.
    """

    path: str
    targets: t.Sequence[t.Mapping[str, t.Any]] | None
    labels: t.Mapping[str, t.Any] = field(default_factory=dict)
    state: str = "present"  # present | absent | exact
    job: str = ""
    scope: t.Mapping[str, t.Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Edit:
    """What a write did: both contents, the addresses asked for, and those among them that changed."""

    path: Path
    before: bytes | None
    after: bytes | None
    asked: tuple[str, ...]
    changed_addresses: frozenset[str]
    registered: int

    @property
    def changed(self) -> bool:
        """Whether the file is (or would be) another one."""
        return self.before != self.after

    def diff(self) -> dict[str, str]:
        """Both contents for Ansible's diff."""
        return {
            "before_header": str(self.path),
            "after_header": str(self.path),
            "before": (self.before or b"").decode("utf-8", "replace"),
            "after": (self.after or b"").decode("utf-8", "replace"),
        }


def write(wish: TargetFile, *, check_mode: bool, warn: t.Callable[[str], None]) -> Edit:
    """Bring the file to what is wanted. :raises NotFoundError: its folder is missing, and why that matters."""
    if wish.targets is None and wish.state != "absent":
        raise InvalidSpecError(f"targets is required with state {wish.state}")
    rows = _target_file.wanted(wish.targets or (), wish.labels)
    path = _atomic_file.resolve(wish.path)
    if not path.parent.is_dir():
        if wish.state == "absent":
            return Edit(path, None, None, tuple(rows), frozenset(), 0)
        trap = (
            f"The folder {path.parent} of the target file does not exist. Prometheus never watches a folder that was "
            "missing when it read its configuration: it sees the file only every refresh_interval, 5 minutes by default"
        )
        if not check_mode:
            raise NotFoundError(
                trap, remedy="Run onprem.autoscale.prometheus_scrape_job first: it makes the folder before the reload."
            )
        warn(f"{trap}. Outside of check mode this would be an error, unless the job is written first.")
        return _edit(wish, rows, path, None)
    with _atomic_file.locked(path):
        edit = _edit(wish, rows, path, _atomic_file.read_bytes(path))
        if edit.changed and not check_mode:
            if edit.after is None:
                _atomic_file.remove(path)
            else:
                _atomic_file.write_atomic(path, edit.after)
        return edit


def _edit(wish: TargetFile, rows: t.Mapping[str, t.Mapping[str, str]], path: Path, content: bytes | None) -> Edit:
    groups = _target_file.parse(content, str(path))
    before = _target_file.addresses(groups)
    asked = tuple(rows)
    if wish.state == "present":
        after = _target_file.put(groups, rows)
    elif wish.state == "exact":
        scope = _target_file.texts(wish.scope).items()
        extra = {address for address, labels in before.items() if address not in rows and scope <= labels.items()}
        after = _target_file.put(_target_file.take_out(groups, extra), rows)
    elif wish.targets is None:
        return Edit(path, content, None, tuple(before), frozenset(before), 0)
    else:
        after = _target_file.take_out(groups, set(rows))
    now = _target_file.addresses(after)
    changed = frozenset(address for address in {*before, *now} if before.get(address) != now.get(address))
    same = after == groups and (content is not None or wish.state != "exact")
    return Edit(path, content, content if same else _target_file.render(after), asked, changed, len(now))


def await_scrape(
    edit: Edit, wish: TargetFile, client: PrometheusClient, waiter: Waiter, *, allow_partial: bool
) -> tuple[list[dict[str, t.Any]], list[str]]:
    """Wait until each target asked for is scraped (or, when absent, gone).

    :returns: rows as :func:`rows`, and the addresses that did not make it.
    :raises WaitTimeoutError: none made it, or not all did and *allow_partial* is false.
    """
    gone = wish.state == "absent"
    pending = set(edit.asked)
    seen: dict[str, dict[str, t.Any]] = {}
    seconds: dict[str, float] = {}
    trouble = ""
    while pending:
        try:
            seen = {row["address"]: row for row in client.targets(wish.job)}
            trouble = ""
        except BackendDownError as error:  # Prometheus may be starting again; the deadline decides
            trouble = error.message
        else:
            done = {a for a in pending if (a not in seen if gone else seen.get(a, {}).get("health") == "up")}
            seconds.update(dict.fromkeys(done, round(waiter.elapsed, 3)))
            pending -= done
        if pending and not waiter.pause():
            break
    failed = [address for address in edit.asked if address in pending]
    result = rows(edit, seen, failed=failed, seconds=seconds, gone=gone)
    if failed and (not allow_partial or len(failed) == len(edit.asked)):
        reasons = "; ".join(f"{row['address']}: {row['msg']}" for row in result if row["failed"])
        raise WaitTimeoutError(
            f"{len(failed)} of {len(edit.asked)} targets of job {wish.job} in {edit.path} were not "
            f"{'gone' if gone else 'scraped'} within {waiter.timeout:g} s: {trouble or reasons}",
            remedy=_advice(client, wish.job, failed, seen),
            result={
                "changed": edit.changed,
                "targets": result,
                "failed_targets": failed,
                "registered": edit.registered,
            },
        )
    return result, failed


def rows(
    edit: Edit,
    seen: t.Mapping[str, t.Mapping[str, t.Any]] | None = None,
    *,
    failed: t.Collection[str] = (),
    seconds: t.Mapping[str, float] | None = None,
    gone: bool = False,
) -> list[dict[str, t.Any]]:
    """One row for each target asked for: ``{address, changed, failed, msg, seconds, health}``."""
    result = []
    for address in edit.asked:
        state = (seen or {}).get(address, {})
        msg = ""
        if address in failed:
            msg = "still a target" if gone else _why(state)
        result.append(
            {
                "address": address,
                "changed": address in edit.changed_addresses,
                "failed": address in failed,
                "msg": msg,
                "seconds": (seconds or {}).get(address, 0.0),
                "health": state.get("health", ""),
            }
        )
    return result


def _why(state: t.Mapping[str, t.Any]) -> str:
    if not state:
        return "Prometheus does not know this target"
    return state.get("last_error") or "not scraped yet"


def _advice(client: PrometheusClient, job: str, failed: t.Sequence[str], seen: t.Mapping[str, t.Any]) -> str:
    """What is most likely wrong."""
    try:
        if not client.job_known(job):
            return f"Prometheus has no job {job}; write it with onprem.autoscale.prometheus_scrape_job first."
    except AutoscaleError:
        return "Check that Prometheus runs."
    if any(address not in seen for address in failed):
        return f"Check that the file_sd_configs of job {job} name this file, and that Prometheus may read it."
    return "Check that the exporter runs there and that Prometheus can reach it."
