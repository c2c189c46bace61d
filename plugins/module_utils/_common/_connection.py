# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The connection options that Prometheus and Alertmanager share, and the HTTP client that they give.
"""

from __future__ import annotations

import typing as t

from ._errors import InvalidSpecError
from ._http import PASSING_STATUSES, HttpClient
from ._module import ArgumentSpec, option


def connection_spec(prefix: str, *, required: bool = True) -> ArgumentSpec:
    """Options ``url``, ``username``, ``password``, ``token``, ``validate_certs``, ``ca_path``.

    :param prefix: of the environment variables: ``PROMETHEUS`` gives ``PROMETHEUS_URL`` and so on.
    :param required: whether the module cannot work without ``url``.
    """
    return ArgumentSpec(
        {
            "url": option(f"{prefix}_URL", required=required),
            "username": option(f"{prefix}_USERNAME"),
            "password": option(f"{prefix}_PASSWORD", no_log=True),
            "token": option(f"{prefix}_TOKEN", no_log=True),
            "validate_certs": option(f"{prefix}_VALIDATE_CERTS", type="bool", default=True),
            "ca_path": option(f"{prefix}_CA_PATH", type="path"),
        },
        mutually_exclusive=[("password", "token")],
        required_together=[("username", "password")],
    )


def http_client(params: t.Mapping[str, t.Any], product: str) -> HttpClient:
    """A client for those options. :raises InvalidSpecError: ``url`` is missing or is no address."""
    if not params.get("url"):
        raise InvalidSpecError("url is missing", remedy=f"Give the address of {product}, such as https://host:port.")
    return HttpClient(
        params["url"],
        verify=params["validate_certs"],
        ca_path=params.get("ca_path"),
        auth=(params["username"], params["password"]) if params.get("username") else None,
        headers={"Authorization": f"Bearer {params['token']}"} if params.get("token") else None,
        retry_statuses=PASSING_STATUSES,
    )
