# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

An alert that this project raises for people (A8, A11). Alertmanager ends it by itself when its time is over.
"""

from __future__ import annotations

import datetime
import re
import typing as t

from .._common._errors import InvalidSpecError, WaitTimeoutError
from .._common._waiter import Waiter
from ._client import AlertmanagerClient

_LABEL = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_]*$")


def ensure(
    client: AlertmanagerClient,
    *,
    labels: t.Mapping[str, t.Any],
    annotations: t.Mapping[str, t.Any],
    firing: bool,
    duration: float,
    generator_url: str,
    waiter: Waiter | None,
    now: datetime.datetime,
    check_mode: bool,
) -> dict[str, t.Any]:
    """Raise, prolong or end the alert with these labels.

    An alert that fires already with the same annotations, and has more than half of *duration* (seconds) to go, is left
    alone.

    :returns: ``changed``, ``alert`` (``{labels, annotations, starts_at, ends_at, fingerprint}``), ``diff``.
    """
    wanted, notes = _names("labels", labels), _names("annotations", annotations)
    if not wanted.get("alertname"):
        raise InvalidSpecError("labels.alertname is missing", remedy="Every alert has a name.")
    found = client.alert(wanted)
    if firing:
        left = (_time(found["endsAt"]) - now).total_seconds() if found else 0.0
        changed = found is None or found.get("annotations") != notes or left < duration / 2
        ends = now + datetime.timedelta(seconds=duration)
    else:
        changed, ends = found is not None, now
    diff = {"before": _shown(found), "after": _shown({"labels": wanted, "annotations": notes} if firing else None)}
    if changed and not check_mode:
        alert = {"labels": wanted, "annotations": notes, "endsAt": ends.isoformat()}
        if not found:
            alert["startsAt"] = now.isoformat()
        if generator_url:
            alert["generatorURL"] = generator_url
        client.post_alert(alert)
        found = _confirm(client, wanted, firing, waiter)
    return {"changed": changed, "alert": _row(found, wanted, notes), "diff": diff}


def _confirm(
    client: AlertmanagerClient, labels: t.Mapping[str, str], firing: bool, waiter: Waiter | None
) -> dict[str, t.Any] | None:
    """Read back until Alertmanager shows it (it takes alerts in by a queue)."""
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
    source = found or {}
    return {
        "labels": dict(source.get("labels", labels)),
        "annotations": dict(source.get("annotations", annotations)),
        "starts_at": source.get("startsAt", ""),
        "ends_at": source.get("endsAt", ""),
        "fingerprint": source.get("fingerprint", ""),
    }
