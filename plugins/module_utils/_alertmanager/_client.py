# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What the collection asks Alertmanager: its configuration, its alerts, and to read its file again.
"""

from __future__ import annotations

import typing as t

from .._common._connection import http_client
from .._common._errors import BackendDownError, RefusedError
from .._common._http import HttpClient, ResponseError
from .._common._yaml import yaml


class AlertmanagerClient:
    """One Alertmanager."""

    def __init__(self, http: HttpClient) -> None:
        self.http = http
        self.url = http.base_url

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> AlertmanagerClient:
        """A client for the connection options of a module."""
        return cls(http_client(params, "Alertmanager"))

    def running_config(self) -> dict[str, t.Any]:
        """The configuration that Alertmanager works with now, parsed; secrets in it are masked."""
        answer = self.http.get_json("/api/v2/status")
        try:
            return yaml.safe_load(answer["config"]["original"]) or {}
        except (KeyError, TypeError, yaml.YAMLError) as error:
            raise BackendDownError(
                f"{self.url}/api/v2/status did not answer as Alertmanager does",
                remedy="Check that url is the address of Alertmanager itself.",
            ) from error

    def reload(self) -> None:
        """Read the configuration again. :raises RefusedError: with Alertmanager's own words."""
        try:
            self.http.request("POST", "/-/reload", timeout=60)
        except ResponseError as error:
            raise RefusedError(f"{self.url} did not take the reload: {error.text}") from error

    def alert(self, labels: t.Mapping[str, str]) -> dict[str, t.Any] | None:
        """The active alert with exactly these labels: ``{labels, annotations, startsAt, endsAt, fingerprint, ...}``."""
        filters = [("filter", f"{name}={_quoted(value)}") for name, value in sorted(labels.items())]
        rows = self.http.get_json("/api/v2/alerts", params=filters)
        return next((row for row in rows if row.get("labels") == dict(labels)), None)

    def post_alerts(self, alerts: t.Sequence[t.Mapping[str, t.Any]]) -> None:
        """Raise, prolong or end alerts. :raises RefusedError: Alertmanager found one invalid."""
        self.http.request("POST", "/api/v2/alerts", json=[dict(alert) for alert in alerts])

    def __enter__(self) -> AlertmanagerClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.http.close()


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
