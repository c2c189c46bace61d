# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One connection to the REST plane: a token, given or from the OIDC provider, lists that are read to their end, and errors
that say what the server said. No token and no password stands in an error.
"""

from __future__ import annotations

import typing as t
from urllib.parse import urlsplit

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

BASE = "/api/v1"
PAGE_SIZE = 100
MAX_PAGES = 1000
Row = dict[str, t.Any]


CONNECTION_SPEC = ArgumentSpec(
    {
        "url": option("PAIS_URL", required=True),
        "token": option("PAIS_TOKEN", no_log=True),
        "issuer": option("PAIS_ISSUER"),
        "client_id": option("PAIS_CLIENT_ID"),
        "client_secret": option("PAIS_CLIENT_SECRET", no_log=True),
        "username": option("PAIS_USERNAME"),
        "password": option("PAIS_PASSWORD", no_log=True),
        "validate_certs": option("PAIS_VALIDATE_CERTS", type="bool", default=True),
        "ca_path": option("PAIS_CA_PATH", type="path"),
    },
    mutually_exclusive=[("token", "issuer")],
    required_one_of=[("token", "issuer")],
    required_together=[("username", "password")],
    required_by={"issuer": ("client_id",)},
)


class Api:
    """Calls to one PAIS. Use as a context manager."""

    def __init__(self, http_client: HttpClient, login: t.Callable[[], str] | None, token: str | None) -> None:
        self._http = http_client
        self._login = login
        self._token = token
        self.name = http_client.name
        http_client.on_unauthorized = self._renew

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._http.close()

    def _renew(self) -> bool:
        token = self._token if self._login is None else self._login()
        self._http.session.headers["Authorization"] = f"Bearer {token}"
        return self._login is not None

    def call(self, what: str, method: str, path: str, body: t.Any = None, params: t.Any = None) -> t.Any:
        """Send one request and decode the answer; *what* completes the sentence "Could not ...".

        :raises UnsettledError: a change was sent, and 5xx or nothing usable came back.
        """
        if "Authorization" not in self._http.session.headers:
            self._renew()
        try:
            response = self._http.request(method, BASE + path, json=body, params=params, ok=(*range(200, 300), *OTHERS))
        except ConnectionBrokenError as error:
            raise error.told(what) from error
        except AuthenticationError as error:
            raise AuthenticationError(
                f"Could not {what}: {self.name} does not take the token (401)",
                remedy="Check token, or the issuer and the account behind it.",
            ) from error
        if not 200 <= response.status_code < 300:
            raise self._refused(what, method, response)
        return None if response.status_code == 204 or not response.content else self._http.decode(response)

    def rows(self, what: str, path: str) -> list[Row]:
        """Every row of a list."""
        found: list[Row] = []
        params: dict[str, str] = {"limit": str(PAGE_SIZE)}
        for _page in range(MAX_PAGES):
            answer = self.call(what, "GET", path, params=params)
            data = answer.get("data") if isinstance(answer, dict) else None
            if not isinstance(data, list):
                raise BackendDownError(
                    f"Could not {what}: {self.name} did not answer as PAIS does: {shorten(str(answer))}"
                )
            found += data
            last = answer.get("last_id") or (data[-1].get("id") if data else None)
            if not answer.get("has_more") or not last or last == params.get("after"):
                return found
            params["after"] = last
        raise BackendDownError(f"Could not {what}: {self.name} says without end that there is more")

    def _refused(self, what: str, method: str, response: t.Any) -> AutoscaleError:
        status = response.status_code
        message = f"Could not {what}: {self.name} answered {status}: {said(response)}"
        if status == 403:
            return RefusedError(message, remedy="Use an account that administers the AI services of this namespace.")
        if status in (404, 405):
            return NotFoundError(message, remedy="Check that url is the address of PAIS, without /api.")
        if status == 409:
            return ConflictError(message)
        if status >= 500:
            if method in SAFE_METHODS:
                return BackendDownError(message, remedy="Try again when PAIS can serve.")
            return UnsettledError(message)
        return RefusedError(message)


#: Statuses that :meth:`Api.call` words itself; 401 is left to the HTTP client, which asks for a new token once.
OTHERS = tuple(status for status in range(300, 600) if status != 401)


def said(response: t.Any) -> str:
    """The messages of the server's details, without the values that it repeats."""
    try:
        detail = response.json()["detail"]
        if isinstance(detail, str):
            return shorten(detail)
        rows = [(".".join(str(part) for part in row.get("loc") or ()), row.get("msg") or "") for row in detail]
        return shorten("; ".join(f"{where}: {text}" if where else text for where, text in rows))
    except (ValueError, KeyError, TypeError, AttributeError):
        return shorten(response.text) or response.reason


def connect(params: t.Mapping[str, t.Any]) -> Api:
    """A connection (nothing is sent yet) from the options of :data:`CONNECTION_SPEC`.

    :raises InvalidSpecError: ``url`` is no address.
    """
    if "/api" in urlsplit(params["url"]).path:
        raise InvalidSpecError(f"url is {params['url']}", remedy="Give the address of PAIS without /api.")
    http_client = HttpClient(
        params["url"],
        verify=params["validate_certs"],
        ca_path=params["ca_path"],
        headers={"Accept": "application/json"},
        retry_statuses=PASSING_STATUSES,
    )
    return Api(http_client, (lambda: _token(params)) if params["issuer"] else None, params["token"])


def _token(params: t.Mapping[str, t.Any]) -> str:
    """A token of the OIDC provider: for an account, or for the client itself where none is given."""
    issuer = params["issuer"].rstrip("/")
    what = f"log in at {issuer}"
    options = {"verify": params["validate_certs"], "ca_path": params["ca_path"]}
    with HttpClient(issuer, **options) as provider:
        endpoint = provider.get_json("/.well-known/openid-configuration").get("token_endpoint") or ""
    form = {"grant_type": "client_credentials", "client_id": params["client_id"], "scope": "openid profile"}
    if params["client_secret"]:
        form["client_secret"] = params["client_secret"]
    if params["username"]:
        form.update(grant_type="password", username=params["username"], password=params["password"])
    with HttpClient(endpoint, **options) as provider:
        response = provider.request("POST", "", data=form, ok=None)
        if response.status_code in (400, 401, 403):
            raise AuthenticationError(
                f"Could not {what}: {params['username'] or params['client_id']} was refused ({response.status_code})",
                remedy="Check client_id, client_secret, username and password, and that the client may use this grant.",
            )
        if response.status_code != 200:
            raise BackendDownError(f"Could not {what}: it answered {response.status_code}", remedy="Try again.")
        token = provider.decode(response).get("access_token")
    if not token:
        raise AuthenticationError(f"Could not {what}: the answer has no access_token")
    return token
