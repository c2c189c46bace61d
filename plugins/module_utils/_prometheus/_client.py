# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What the collection asks Prometheus: its targets, its rules, its configuration, and to read its files again.
"""

from __future__ import annotations

import typing as t

from .._common._connection import http_client
from .._common._errors import BackendDownError, NotFoundError, RefusedError
from .._common._http import HttpClient, ResponseError
from .._common._yaml import yaml


class PrometheusClient:
    """One Prometheus server.

    Addresses in the answers are ``host:port`` as in the target files (the discovered ``__address__``).
    """

    def __init__(self, http: HttpClient) -> None:
        self.http = http
        self.url = http.base_url

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> PrometheusClient:
        """A client for the connection options of a module. :raises InvalidSpecError: ``url`` is missing or bad."""
        return cls(http_client(params, "Prometheus"))

    def get(self, path: str, **params: t.Any) -> t.Any:
        """The ``data`` of ``GET /api/v1/<path>``."""
        answer = self.http.get_json(f"/api/v1/{path}", params=params or None)
        if not isinstance(answer, dict) or answer.get("status") != "success" or "data" not in answer:
            raise BackendDownError(
                f"{self.url}/api/v1/{path} did not answer as Prometheus does",
                remedy="Check that url is the address of Prometheus itself.",
            )
        return answer["data"]

    def targets(self, job: str) -> list[dict[str, t.Any]]:
        """The active targets of *job*: ``{address, health, labels, last_error, last_scrape, scrape_url}``.

        ``health`` is ``up``, ``down`` or ``unknown`` (not scraped yet). Dropped targets do not count.
        """
        rows = []
        for target in self.get("targets", state="active", scrapePool=job)["activeTargets"]:
            labels = target.get("labels") or {}
            if target.get("scrapePool", labels.get("job")) != job:
                continue  # servers before 2.43 do not know the filter
            address = (target.get("discoveredLabels") or {}).get("__address__") or labels.get("instance", "")
            scraped = target.get("lastScrape", "")
            rows.append(
                {
                    "address": address,
                    "health": target.get("health", "unknown"),
                    "labels": labels,
                    "last_error": target.get("lastError", ""),
                    "last_scrape": "" if scraped.startswith("0001-") else scraped,
                    "scrape_url": target.get("scrapeUrl", ""),
                }
            )
        return sorted(rows, key=lambda row: row["address"])

    def running_config(self) -> dict[str, t.Any]:
        """The configuration that Prometheus works with now, parsed."""
        try:
            return yaml.safe_load(self.get("status/config")["yaml"]) or {}
        except yaml.YAMLError as error:
            raise BackendDownError(f"{self.url} gave a configuration that is not YAML") from error

    def scrape_pools(self) -> list[str]:
        """Names of the jobs that have targets (all jobs from Prometheus 3 on); empty before 2.42."""
        try:
            return list(self.get("scrape_pools")["scrapePools"] or [])
        except NotFoundError:
            return []

    def job_known(self, job: str) -> bool:
        """Whether Prometheus has the job, with or without targets."""
        jobs = {entry.get("job_name") for entry in self.running_config().get("scrape_configs") or []}
        return job in jobs or job in self.scrape_pools()

    def rule_groups(self) -> list[dict[str, t.Any]]:
        """Loaded rule groups: ``{name, file, rules: [name]}``."""
        return [
            {
                "name": group["name"],
                "file": group.get("file", ""),
                "rules": [rule.get("name", "") for rule in group.get("rules") or []],
            }
            for group in self.get("rules")["groups"] or []
        ]

    def config_file(self) -> str:
        """What Prometheus was started with in ``--config.file``; empty when it does not say."""
        try:
            return str(self.get("status/flags").get("config.file", ""))
        except (NotFoundError, RefusedError):
            return ""

    def reload(self) -> None:
        """Read the configuration again. :raises RefusedError: with Prometheus' own words."""
        try:
            self.http.request("POST", "/-/reload", timeout=60)
        except ResponseError as error:
            if error.status in (403, 405):
                raise RefusedError(
                    f"{self.url} does not take reloads: {error.text}",
                    remedy="Start Prometheus with --web.enable-lifecycle, and let this host reach /-/reload.",
                ) from error
            raise RefusedError(f"{self.url} did not take the reload: {error.text}") from error

    def __enter__(self) -> PrometheusClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.http.close()
