# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is taken out of a notification, and what is not believed (T1, A15)."""

from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._payload import (
    PayloadError,
    parse_notification,
    parse_prometheus,
    plain,
)


def body(**alert: t.Any) -> dict[str, t.Any]:
    """A notification of one alert."""
    entry = {
        "status": "firing",
        "labels": {"alertname": "Cpu", "group": "web", "action": "scale_out"},
        "annotations": {},
        "startsAt": "2026-01-01T00:00:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "f00d",
    }
    return {"version": "4", "truncatedAlerts": 0, "alerts": [{**entry, **alert}], "notification_reason": "new field"}


def parse(data: t.Any) -> t.Any:
    """Through the wire."""
    return parse_notification(json.dumps(data).encode())


def test_an_alert_is_taken_out_with_its_key() -> None:
    """The text of startsAt stays as it came: it is part of the key."""
    found = parse(body())
    (alert,) = found.alerts
    assert alert.key == "f00d|2026-01-01T00:00:00.123456789Z|firing"
    assert (alert.group, alert.direction, alert.reason) == ("web", "out", "Cpu f00d")
    assert alert.starts_at == pytest.approx(1767225600.123456)
    assert (found.truncated, found.unaddressed) == (0, 0)


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"group": "web"},
        {"action": "scale_out"},
        {"group": "web", "action": "reboot"},
        {"group": "", "action": "scale_in"},
    ],
)
def test_alerts_for_others_are_counted(labels: dict[str, str]) -> None:
    """A wrong route is seen, and acts on nothing."""
    found = parse(body(labels=labels))
    assert (found.alerts, found.unaddressed) == ([], 1)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "maybe"},
        {"fingerprint": ""},
        {"fingerprint": "a|b"},
        {"startsAt": "2026|01"},
        {"labels": {"group": None}},
        {"labels": "web"},
        {"annotations": {"x": 1}},
    ],
)
def test_a_wrong_form_is_named_without_its_value(change: dict[str, t.Any]) -> None:
    """T1: 422; the value is not echoed, it may be large or secret."""
    with pytest.raises(PayloadError) as caught:
        parse(body(**change))
    assert caught.value.status == 422
    assert "maybe" not in str(caught.value)
    assert "$.alerts[0]" in str(caught.value)


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_never_raises_anything_else(data: bytes) -> None:
    """T1: any bytes."""
    with pytest.raises(PayloadError):
        parse_notification(data)


@given(st.text(max_size=500))
def test_plain_text_holds_nothing_of_a_template(text: str) -> None:
    """A15: an extra variable is rendered by Ansible."""
    assert not set(plain(text)) & set("{}%$`\"'\\\n\r;|&<>")
    assert len(plain(text)) <= 200


def test_prometheus_list() -> None:
    """Only what fires and is addressed; the same alert has the same fingerprint, another one another."""
    labels = {"alertname": "Cpu", "group": "web", "action": "scale_in"}
    entry = {"labels": labels, "annotations": {}, "state": "firing", "activeAt": "2026-01-01T00:00:00Z", "value": "1"}
    data = {
        "status": "success",
        "data": {
            "alerts": [
                entry,
                {**entry, "labels": dict(reversed(labels.items()))},
                {**entry, "labels": {**labels, "group": "api"}},
                {**entry, "state": "pending"},
                {**entry, "labels": {"alertname": "Other"}},
            ]
        },
    }
    found = parse_prometheus(data)
    assert [alert.group for alert in found] == ["web", "web", "api"]
    assert found[0].key == found[1].key != found[2].key
    assert {alert.source for alert in found} == {"sweep"}


@pytest.mark.parametrize("data", [None, {}, [], {"status": "error"}, {"status": "success", "data": {"alerts": [1]}}])
def test_prometheus_nonsense_is_an_error_not_silence(data: t.Any) -> None:
    """Missing data must not look like 'nothing fires'."""
    with pytest.raises(ValueError, match="Prometheus"):
        parse_prometheus(data)
