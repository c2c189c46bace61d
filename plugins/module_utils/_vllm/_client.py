# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The connection options of an endpoint, and what it is asked beside streams.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import BackendDownError, InvalidSpecError
from .._common._http import HttpClient, url_host
from .._common._module import ArgumentSpec, option
from ._metrics import Snapshot, read_snapshot

#: Seconds that a page of an endpoint may take; they are all short.
PAGE_S = 5.0


def connection_spec() -> ArgumentSpec:
    """Options of the fragment ``onprem.autoscale._vllm``."""
    return ArgumentSpec(
        {
            "port": {"type": "int", "default": 8000},
            "scheme": {"type": "str", "choices": ["http", "https"], "default": "http"},
            "api_key": option("VLLM_API_KEY", no_log=True),
            "validate_certs": {"type": "bool", "default": True},
            "ca_path": {"type": "path"},
        }
    )


def members_spec() -> ArgumentSpec:
    """Option ``members`` of the same fragment."""
    row = {"name": {"type": "str", "required": True}, "address": {"type": "str", "required": True}}
    return ArgumentSpec({"members": {"type": "list", "elements": "dict", "required": True, "options": row}})


def check_members(members: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """:raises InvalidSpecError: a member has no address."""
    for index, member in enumerate(members):
        if not member["address"]:
            raise InvalidSpecError(
                f"members[{index}].address: value is empty for {member['name']}; allowed: an address"
            )


@dataclasses.dataclass(frozen=True)
class Connection:
    """How the endpoints of one call are reached."""

    port: int = 8000
    scheme: str = "http"
    api_key: str | None = dataclasses.field(default=None, repr=False)
    validate_certs: bool = True
    ca_path: str | None = None

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> Connection:
        """Of a module's options."""
        return cls(**{field.name: params.get(field.name) for field in dataclasses.fields(cls)})

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        key = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {"User-Agent": "onprem.autoscale", **key}

    def client(self, address: str, *, port: int | None = None, scheme: str | None = None) -> Pages:
        """The pages of one endpoint."""
        own = port is None
        http = HttpClient(
            f"{scheme or self.scheme}://{url_host(address)}:{port or self.port}",
            verify=self.validate_certs,
            ca_path=self.ca_path,
            timeout=PAGE_S,
            connect_timeout=PAGE_S,
            headers=self.headers if own else None,  # the key is for vLLM, not for what listens beside it
            retries=0,
        )
        http.session.trust_env = False  # a proxy from the environment would answer for the endpoint
        return Pages(http)


class Pages:
    """What is read from an endpoint."""

    def __init__(self, http: HttpClient) -> None:
        self.http = http

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.http.close()

    def status(self, path: str) -> tuple[int, str]:
        """Status and text of a page, whatever the status. :raises ConnectionBrokenError: no answer."""
        answer = self.http.request("GET", path, ok=None)
        return answer.status_code, answer.text

    def models(self) -> list[dict[str, t.Any]]:
        """The rows of /v1/models: ``id``, ``max_model_len`` ..."""
        rows = self._object("/v1/models").get("data")
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def version(self) -> str:
        """vLLM's version."""
        return str(self._object("/version").get("version") or "")

    def load(self) -> int | None:
        """Requests in flight as the HTTP server counts them; ``None`` where it has no such page."""
        answer = self.http.request("GET", "/load", ok=(200, 404))
        if answer.status_code == 404:
            return None
        found = self.http.decode(answer)
        count = found.get("server_load") if isinstance(found, dict) else None
        return int(count) if isinstance(count, (int, float)) else None

    def snapshot(self) -> Snapshot:
        """The engine's own numbers. :raises BackendDownError: what /metrics says is not vLLM's."""
        answer = self.http.request("GET", "/metrics")
        try:
            return read_snapshot(answer.text)
        except ValueError as error:
            raise BackendDownError(f"{self.http.name}/metrics cannot be read: {error}") from error

    def json(self, path: str) -> t.Any:
        """The JSON of a page."""
        return self.http.get_json(path)

    def _object(self, path: str) -> dict[str, t.Any]:
        found = self.http.get_json(path)
        if not isinstance(found, dict):
            raise BackendDownError(f"{self.http.name}{path} did not answer as vLLM does")
        return found
