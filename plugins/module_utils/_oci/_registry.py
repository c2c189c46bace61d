# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A registry as the OCI distribution specification has it: reads with a Range, tokens that end, stores elsewhere.
"""

from __future__ import annotations

import base64
import re
import threading
import typing as t
from urllib.parse import urljoin, urlsplit

from .._common._errors import AuthenticationError, BackendDownError, NotFoundError, RefusedError
from .._common._http import PASSING_STATUSES, HttpClient
from ._manifest import INDEX_TYPES, MANIFEST_TYPES, Reference

if t.TYPE_CHECKING:
    import requests

MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
_BEARER = re.compile(r"\bbearer\s+(.+)", re.IGNORECASE)
_BASIC = re.compile(r"\bbasic\b", re.IGNORECASE)
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')


class Registry:
    """Reads of one repository; used by several threads at once.

    :param params: ``username``, ``password``, ``plain_http``, ``validate_certs``, ``ca_path``.
    :param idle: seconds without a byte after which a read is given up.
    """

    def __init__(self, reference: Reference, params: t.Mapping[str, t.Any], idle: float = 60.0) -> None:
        self.reference = reference
        self._params = params
        self._idle = idle
        self._scheme = "http" if params["plain_http"] else "https"
        self._home = f"{self._scheme}://{reference.registry}"
        self._clients: dict[str, HttpClient] = {}
        self._lock = threading.RLock()
        self._authorization = ""

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_exc: object) -> None:
        for client in self._clients.values():
            client.close()

    def manifest(self) -> bytes:
        """The manifest as it is stored; its digest is not checked here."""
        path = f"/v2/{self.reference.repository}/manifests/{self.reference.digest}"
        accept = {"Accept": ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))}
        with self._get(path, accept, f"The manifest {self.reference}", (200,), stream=False) as response:
            return response.content

    def blob(self, digest: str, start: int = 0) -> requests.Response:
        """An open answer from byte *start* on: 206, or 200 where the registry ignores the Range, or 416."""
        path = f"/v2/{self.reference.repository}/blobs/{digest}"
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        return self._get(path, headers, f"The blob {digest} of {self.reference}", (200, 206, 416), stream=True)

    def chunks(self, response: requests.Response, size: int) -> t.Iterator[bytes]:
        """The body. :raises ConnectionBrokenError: the connection broke in the middle."""
        yield from self._client(_origin(response.url)).chunks(response, size)

    # ---- requests ---------------------------------------------------------------------------------------------------
    def _get(
        self, path: str, headers: t.Mapping[str, str], what: str, ok: t.Collection[int], *, stream: bool
    ) -> requests.Response:
        for turn in (1, 2, 3):  # the first without a token, the second with one that may end at this moment
            used = self._authorization
            response = self._follow(path, headers, used, what, stream)
            if response.status_code != 401 or turn == 3:
                break
            response.close()
            self._renew(used, response.headers.get("WWW-Authenticate", ""), what)
        if response.status_code in ok:
            return response
        with response:
            raise self._error(response, what)

    def _follow(
        self, path: str, headers: t.Mapping[str, str], authorization: str, what: str, stream: bool
    ) -> requests.Response:
        """Send it, and go where the registry sends us: to another host without what proves who we are."""
        url = self._home + path
        for _hop in range(MAX_REDIRECTS):
            origin = _origin(url)
            mine = {"Authorization": authorization} if authorization and origin == self._home else {}
            client = self._client(origin)
            response = client.request("GET", url[len(origin) :], headers={**headers, **mine}, ok=None, stream=stream)
            if response.status_code not in REDIRECTS:
                return response
            target = urljoin(url, response.headers.get("Location", ""))
            response.close()
            if urlsplit(target).scheme not in ("https", self._scheme):
                raise RefusedError(f"{what}: the registry sends us to {_origin(target)}, which is not encrypted")
            url = target
        raise RefusedError(f"{what}: more than {MAX_REDIRECTS} redirects")

    def _client(self, origin: str) -> HttpClient:
        with self._lock:
            if origin not in self._clients:
                self._clients[origin] = HttpClient(
                    origin,
                    verify=self._params["validate_certs"],
                    ca_path=self._params["ca_path"],
                    timeout=self._idle,
                    retry_statuses=PASSING_STATUSES,
                )
            return self._clients[origin]

    # ---- who we are ------------------------------------------------------------------------------------------------
    def _renew(self, used: str, challenges: str, what: str) -> None:
        """Answer a 401; the first of several threads does it for all. :raises AuthenticationError: there is no way."""
        with self._lock:
            if self._authorization != used:
                return
            user, password = self._params["username"], self._params["password"]
            basic = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else ""
            bearer = _BEARER.search(challenges)
            if bearer:
                self._authorization = f"Bearer {self._token(_parameters(bearer[1]), basic, what)}"
            elif _BASIC.search(challenges) and basic and used != basic:
                self._authorization = basic
            else:
                raise AuthenticationError(
                    f"{what}: the registry does not let {user or 'nobody'} in (401)",
                    remedy="Check username and password." if user else "Give username and password, such as a robot's.",
                )

    def _token(self, given: t.Mapping[str, str], basic: str, what: str) -> str:
        realm = given.get("realm", "")
        if urlsplit(realm).scheme not in ("https", self._scheme) or not urlsplit(realm).hostname:
            raise AuthenticationError(f"{what}: the registry wants a token from {realm!r}, where none is asked for")
        query = {"scope": f"repository:{self.reference.repository}:pull", **given}
        origin = _origin(realm)
        response = self._client(origin).request(
            "GET",
            realm[len(origin) :] or "/",
            params={key: query[key] for key in ("service", "scope") if query.get(key)},
            headers={"Authorization": basic} if basic else None,
            ok=None,
        )
        if response.status_code in (401, 403):
            raise AuthenticationError(
                f"{what}: {origin} gives no token to {self._params['username'] or 'nobody'} ({response.status_code})",
                remedy="Check username and password, and that the account may pull from the repository.",
            )
        if response.status_code != 200:
            raise self._error(response, f"{what}: the token from {origin}")
        answer = self._client(origin).decode(response)
        token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token:
            raise AuthenticationError(f"{what}: {origin} answered without a token")
        return token

    def _error(self, response: requests.Response, what: str) -> Exception:
        """What an unexpected status becomes; the address of a store may carry a signature and is never shown."""
        status = response.status_code
        if status == 404:
            return NotFoundError(
                f"{what} is not there (404)", remedy="Check registry, repository and digest; was it pushed, or purged?"
            )
        if status in (401, 403):
            return AuthenticationError(
                f"{what} was refused ({status}) to {self._params['username'] or 'nobody'}",
                remedy="Check username and password, and that the account may pull from the repository.",
            )
        if status == 429 or status >= 500:
            return BackendDownError(
                f"{what} was answered with {status}", remedy="Try again when the registry is ready."
            )
        return RefusedError(f"{what} was answered with {status}")


def _parameters(text: str) -> dict[str, str]:
    return {key.lower(): quoted or plain for key, quoted, plain in _PARAMETER.findall(text)}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
