# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Alerts that this project raises for people (A8, A11). Alertmanager ends them by itself when their time is over.
"""

from __future__ import annotations

import datetime
import re
import typing as t
from dataclasses import dataclass, field

from .._common._errors import InvalidSpecError, WaitTimeoutError
from .._common._waiter import Waiter
from ._client import AlertmanagerClient

_LABEL = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_]*$")


@dataclass(frozen=True)
class Alert:
    """What people shall be told. ``name`` is the label ``alertname``."""

    name: str
    labels: t.Mapping[str, t.Any] = field(default_factory=dict)
    annotations: t.Mapping[str, t.Any] = field(default_factory=dict)
    generator_url: str = ""


def ensure(
    client: AlertmanagerClient,
    alerts: t.Sequence[Alert],
    *,
    firing: bool,
    duration: float,
    waiter: Waiter | None,
    now: datetime.datetime,
    check_mode: bool,
) -> dict[str, t.Any]:
    """Raise, prolong or end the alerts with exactly these labels.

    An alert that fires already with the same annotations, and has more than half of *duration* (seconds) to go, is left
    alone.

    :returns: ``changed``, ``alerts`` (``{name, changed, labels, annotations, starts_at, ends_at, fingerprint}``),
        ``diff``.
    """
    ends = now + datetime.timedelta(seconds=duration) if firing else now
    rows, posts, diffs = [], [], []
    for alert in alerts:
        labels = {**_names("labels", alert.labels), "alertname": alert.name}
        notes = _names("annotations", alert.annotations)
        if not alert.name:
            raise InvalidSpecError("An alert has no name", remedy="Give name, which becomes the label alertname.")
        found = client.alert(labels)
        changed = _must_change(found, notes, now, duration) if firing else found is not None
        if changed:
            posts.append(_post(labels, notes, alert.generator_url, found, now, ends))
        after = {"labels": labels, "annotations": notes} if firing else None
        diffs.append((_shown(found), _shown(after)))
        rows.append({"name": alert.name, "changed": changed, **_row(found, labels, notes)})
    if posts and not check_mode:
        client.post_alerts(posts)
        for row in rows:
            if row["changed"]:
                row.update(_row(_confirm(client, row["labels"], firing, waiter), row["labels"], row["annotations"]))
    return {
        "changed": bool(posts),
        "alerts": rows,
        # A mapping, as Ansible's own callbacks show no diff of lists.
        "diff": {
            "before": {"alerts": [entry[0] for entry in diffs]},
            "after": {"alerts": [entry[1] for entry in diffs]},
        },
    }


def _must_change(
    found: t.Mapping[str, t.Any] | None, notes: t.Mapping[str, str], now: datetime.datetime, duration: float
) -> bool:
    if found is None or found.get("annotations") != notes:
        return True
    return (_time(found["endsAt"]) - now).total_seconds() < duration / 2


def _post(
    labels: t.Mapping[str, str],
    annotations: t.Mapping[str, str],
    generator_url: str,
    found: t.Mapping[str, t.Any] | None,
    now: datetime.datetime,
    ends: datetime.datetime,
) -> dict[str, t.Any]:
    alert: dict[str, t.Any] = {"labels": dict(labels), "annotations": dict(annotations), "endsAt": ends.isoformat()}
    if found is None:
        alert["startsAt"] = now.isoformat()
    if generator_url:
        alert["generatorURL"] = generator_url
    return alert


def _confirm(
    client: AlertmanagerClient, labels: t.Mapping[str, str], firing: bool, waiter: Waiter | None
) -> dict[str, t.Any] | None:
    """Read back until Alertmanager shows it, or shows it no more."""
    while True:
        found = client.alert(labels)
        if waiter is None or (found is not None) == firing:
            return found
        if not waiter.pause():
            word = "show" if firing else "end"
            raise WaitTimeoutError(f"{client.url} took the alert {labels['alertname']} but does not {word} it")


def _names(field: str, values: t.Mapping[str, t.Any]) -> dict[str, str]:
    bad = [name for name in values if not _LABEL.match(str(name))]
    if bad:
        raise InvalidSpecError(f"{field}: {bad} are not label names", remedy="Use letters, digits and underscores.")
    texts = {
        str(name): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
        if value is not None
    }
    return {name: value for name, value in texts.items() if value}  # Alertmanager drops empty ones


def _time(text: str) -> datetime.datetime:
    """RFC 3339 with up to nine digits of a second, which Python before 3.11 does not read."""
    return datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).replace("Z", "+00:00"))


def _shown(alert: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    return {} if not alert else {"labels": alert["labels"], "annotations": alert.get("annotations", {})}


def _row(
    found: t.Mapping[str, t.Any] | None, labels: t.Mapping[str, str], annotations: t.Mapping[str, str]
) -> dict[str, t.Any]:
    """What a reader gets; times are empty for an alert that does not fire."""
    source = found or {}
    return {
        "labels": dict(source.get("labels", labels)),
        "annotations": dict(source.get("annotations", annotations)),
        "starts_at": source.get("startsAt", ""),
        "ends_at": source.get("endsAt", ""),
        "fingerprint": source.get("fingerprint", ""),
    }
