# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What Alertmanager sends (webhook version 4), what is kept of it, and what Prometheus' own list of alerts becomes.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import json
import re
import typing as t

from ...module_utils._ledger._work_rows import SWEEP, Alert
from ._libraries import jsonschema

_LABELS = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 4096}, "maxProperties": 256}

#: JSON Schema of the body. Only what is used is demanded: Alertmanager adds fields from version to version.
SCHEMA: dict[str, t.Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Alertmanager webhook notification, version 4",
    "type": "object",
    "required": ["version", "alerts"],
    "properties": {
        "version": {"const": "4"},
        "truncatedAlerts": {"type": "integer", "minimum": 0},
        "alerts": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["status", "labels", "startsAt", "fingerprint"],
                "properties": {
                    "status": {"enum": ["firing", "resolved"]},
                    "labels": _LABELS,
                    "annotations": _LABELS,
                    "startsAt": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[0-9T:.Z+-]+$"},
                    "endsAt": {"type": "string", "maxLength": 64},
                    "fingerprint": {"type": "string", "pattern": "^[0-9A-Za-z]{1,64}$"},
                },
            },
        },
    },
}
_ACTIONS = {"scale_out": "out", "scale_in": "in"}
_FRACTION = re.compile(r"\.(\d{1,6})\d*")


@functools.cache
def _validator() -> t.Any:
    return jsonschema.Draft202012Validator(SCHEMA)


class PayloadError(ValueError):
    """The body is not a notification; the text may be shown to the sender. ``status`` is the HTTP answer."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclasses.dataclass
class Notification:
    """The alerts of one delivery that are addressed to us, and how many were not."""

    alerts: list[Alert] = dataclasses.field(default_factory=list)
    unaddressed: int = 0  # without a usable group or action label
    truncated: int = 0


def parse_notification(body: bytes) -> Notification:
    """Check *body* and take out what is used.

    :raises PayloadError: 400 for what is not JSON, 422 for JSON that is not a version 4 notification.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise PayloadError("the body is not JSON", 400) from None
    error = next(iter(_validator().iter_errors(data)), None)
    if error is not None:
        # The offending value is not repeated: it may be a megabyte, or a secret.
        raise PayloadError(f"not an Alertmanager notification: {error.json_path} breaks '{error.validator}'", 422)
    found = Notification(truncated=data.get("truncatedAlerts", 0))
    for entry in data["alerts"]:
        alert = _alert(
            entry["labels"],
            entry.get("annotations", {}),
            fingerprint=entry["fingerprint"],
            start=entry["startsAt"],
            status=entry["status"],
        )
        if alert is None:
            found.unaddressed += 1
        else:
            found.alerts.append(alert)
    return found


def parse_prometheus(data: t.Any) -> list[Alert]:
    """Firing alerts that are addressed to us, from the answer of Prometheus' ``/api/v1/alerts``.

    :raises ValueError: the answer is not of that form.
    """
    try:
        if data["status"] != "success":
            raise ValueError("Prometheus did not answer with success")
        found = []
        for entry in data["data"]["alerts"]:
            if entry["state"] != "firing":
                continue
            digest = hashlib.sha256(json.dumps(entry["labels"], sort_keys=True).encode()).hexdigest()[:16]
            alert = _alert(
                entry["labels"],
                entry.get("annotations", {}),
                fingerprint=f"{SWEEP}{digest}",
                start=entry["activeAt"],
                status="firing",
                source="sweep",
            )
            if alert is not None:
                found.append(alert)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"Prometheus' list of alerts has an unknown form: {error!r}") from error
    return found


def _alert(
    labels: t.Mapping[str, str],
    annotations: t.Mapping[str, str],
    *,
    fingerprint: str,
    start: str,
    status: str,
    source: str = "alert",
) -> Alert | None:
    group, direction = labels.get("group"), _ACTIONS.get(labels.get("action", ""))
    if not group or direction is None:
        return None
    return Alert(
        fingerprint=fingerprint,
        start=start,
        status=status,
        group=group,
        direction=direction,
        # Becomes an extra variable of the play, and Ansible renders those: nothing of a template may be left in it.
        reason=plain(f"{labels.get('alertname', 'alert')} {fingerprint}"),
        starts_at=_seconds(start),
        source=source,
        payload={"labels": dict(labels), "annotations": dict(annotations)},
    )


def plain(text: str, limit: int = 200) -> str:
    """*text* reduced to characters that mean nothing to a template, a shell or a log reader."""
    return re.sub(r"[^A-Za-z0-9 _.,:/=+-]", "_", text)[:limit]


def _seconds(text: str) -> float | None:
    """RFC 3339 with up to nanoseconds, in seconds since the epoch; ``None`` when it is none."""
    text = _FRACTION.sub(lambda match: "." + match[1].ljust(6, "0"), text)
    try:
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else None
