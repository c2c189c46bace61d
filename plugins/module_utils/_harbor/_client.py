# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One connection to Harbor's API. No session cookie is kept: Harbor takes a client that sends it back for a browser, and
asks it for a CSRF token. A change whose answer was lost is an error of its own: it is read before anything else.
"""

from __future__ import annotations

import email.utils
import http.cookiejar
import time
import typing as t

from .._common._errors import (
    AuthenticationError,
    AutoscaleError,
    BackendDownError,
    ConflictError,
    InvalidSpecError,
    NotFoundError,
    RefusedError,
    UnsettledError,
)
from .._common._http import PASSING_STATUSES, SAFE_METHODS, ConnectionBrokenError, HttpClient, shorten
from .._common._module import ArgumentSpec, option

BASE = "/api/v2.0"
PAGE_SIZE = 100

Row = dict[str, t.Any]


CONNECTION_SPEC = ArgumentSpec(
    {
        "url": option("HARBOR_URL", required=True),
        "username": option("HARBOR_USERNAME", required=True),
        "password": option("HARBOR_PASSWORD", required=True, no_log=True),
        "validate_certs": option("HARBOR_VALIDATE_CERTS", type="bool", default=True),
        "ca_path": option("HARBOR_CA_PATH", type="path"),
    }
)


class Api:
    """Calls to one Harbor. Use as a context manager."""

    def __init__(self, http_client: HttpClient, username: str) -> None:
        self._http = http_client
        self._username = username
        self.name = http_client.name
        self._clock: float | None = None
        http_client.session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._http.close()

    def call(self, what: str, method: str, path: str, body: t.Any = None, params: t.Any = None) -> t.Any:
        """Send one request; *what* completes the sentence "Could not ...". The response is 2xx.

        :raises UnsettledError: a change was sent, and 5xx or nothing usable came back.
        """
        try:
            response = self._http.request(method, BASE + path, json=body, params=params, ok=None)
        except ConnectionBrokenError as error:
            raise error.told(what) from error
        date = email.utils.parsedate_tz(response.headers.get("Date", ""))
        self._clock = email.utils.mktime_tz(date) if date else None
        if not 200 <= response.status_code < 300:
            raise self._refused(what, method, response)
        return response

    def get(self, what: str, path: str, **params: t.Any) -> t.Any:
        """The JSON of one object."""
        response = self.call(what, "GET", path, params=params)
        return self._http.decode(response)

    def text(self, what: str, path: str) -> str:
        """A page of plain text."""
        return self.call(what, "GET", path).text

    def pages(self, what: str, path: str, **params: t.Any) -> t.Iterator[Row]:
        """Every row of a list."""
        seen, number = 0, 1
        while True:
            response = self.call(what, "GET", path, params={**params, "page": str(number), "page_size": str(PAGE_SIZE)})
            rows = self._http.decode(response) or []
            if not isinstance(rows, list):
                raise BackendDownError(
                    f"Could not {what}: {self.name} did not answer as Harbor does: {shorten(str(rows))}"
                )
            yield from rows
            seen, number = seen + len(rows), number + 1
            total = response.headers.get("X-Total-Count", "")
            if not rows or (seen >= int(total) if total.isdigit() else len(rows) < PAGE_SIZE):
                return

    def named(self, what: str, path: str, name: str) -> Row | None:
        """The row of that name; ``q`` alone is not trusted, as signs in a name may have a meaning there."""
        if any(sign in name for sign in ",=~()[]{}"):
            rows = self.pages(what, path)
        else:
            rows = self.pages(what, path, q=f"name={name}")
        return next((row for row in rows if row.get("name") == name), None)

    def clock(self) -> float:
        """The time of Harbor's last answer, so that ages do not depend on this machine's clock."""
        return time.time() if self._clock is None else self._clock

    def _refused(self, what: str, method: str, response: t.Any) -> AutoscaleError:
        status = response.status_code
        message = f"Could not {what}: {self.name} answered {status}: {said(response)}"
        if status == 401:
            return AuthenticationError(
                f"Could not {what}: {self.name} refused {self._username} or the password (401)",
                remedy="Check username and password.",
            )
        if status == 403:
            return RefusedError(
                message,
                remedy=f"Registries and replication are for administrators of the system; {self._username} is none.",
            )
        if status == 404:
            return NotFoundError(message, remedy="Check that url is the address of Harbor, without /api.")
        if status in (409, 412):
            return ConflictError(message)
        if status >= 500 and method not in SAFE_METHODS:
            return UnsettledError(message)
        if status >= 500:
            return BackendDownError(message, remedy="Try again when Harbor can serve.")
        if 300 <= status < 400:
            where = response.headers.get("Location", "the new address")
            return RefusedError(message, remedy=f"Redirects are not followed; set url to {where}.")
        return RefusedError(message)


def said(response: t.Any) -> str:
    """The messages of Harbor's errors, else the text."""
    try:
        rows = response.json()["errors"]
        return shorten("; ".join(f"{row['message']} ({row['code']})" for row in rows))
    except (ValueError, KeyError, TypeError):
        return shorten(response.text) or response.reason


def connect(params: t.Mapping[str, t.Any]) -> Api:
    """A connection (nothing is sent yet) from the options of :data:`CONNECTION_SPEC`.

    :raises InvalidSpecError: ``url`` is no address.
    """
    url = params["url"].rstrip("/")
    if url.endswith("/api") or "/api/" in url:
        raise InvalidSpecError(f"url is {url}", remedy="Give the address of Harbor without /api.")
    http_client = HttpClient(
        url,
        verify=params["validate_certs"],
        ca_path=params["ca_path"],
        auth=(params["username"], params["password"]),
        headers={"Accept": "application/json"},
        retry_statuses=PASSING_STATUSES,
    )
    return Api(http_client, params["username"])
