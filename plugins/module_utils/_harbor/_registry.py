# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Registries: the other Harbors that a Harbor knows. Harbor asks a registry before it stores it, and gives no secret away.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from .._common._errors import InvalidSpecError, NotFoundError, RefusedError, UnsettledError
from ._client import Api, Row

PATH = "/registries"
#: The options of a registry: those of a connection, so that a site's own connection can be given as it is.
REGISTRY_OPTIONS: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "default": "harbor"},
    "description": {"type": "str"},
    "url": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "update_password": {"type": "str", "choices": ["on_create", "always"], "default": "on_create", "no_log": False},
    "validate_certs": {"type": "bool"},
    "ca_path": {"type": "path"},
}
FIELDS = ("name", "type", "url", "description", "insecure", "ca_certificate", "access_key")


class Registries:
    """The registries of one Harbor."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def find(self, name: str) -> Row | None:
        """By name."""
        return self._api.named(f"read the registry {name}", PATH, name)

    def need(self, name: str) -> Row:
        """:raises NotFoundError: there is none."""
        found = self.find(name)
        if found is None:
            raise NotFoundError(
                f"Harbor {self._api.name} has no registry {name}", remedy="Give registry.url, so that it is made."
            )
        return found

    def present(self, options: t.Mapping[str, t.Any], *, check_mode: bool) -> tuple[Row, Row | None, Row]:
        """Make it so. Returns the row as it is now (in check mode: as it would be), and before and after for a diff."""
        name = options["name"]
        live = self.find(name)
        wish = _wish(options)
        if live is None:
            if not wish.get("url"):
                self.need(name)
            return self._create(name, wish, options, check_mode)
        before = flat(live)
        after = {**before, **wish}
        given = options["password"] is not None
        secret = given and options["update_password"] == "always"  # noqa: S105 - a choice
        if after == before and not secret:
            return live, before, before
        if secret:
            after = {**after, "access_secret": "(written)"}
        if not check_mode:
            body = {key: value for key, value in after.items() if key not in ("type", "access_secret")}
            if after["access_key"]:
                body["credential_type"] = "basic"
            if given:
                body["access_secret"] = options["password"]
            live = self._update(live, body)
        return live, before, after

    def absent(self, name: str, *, check_mode: bool) -> Row | None:
        """Take it away; what was there. :raises ConflictError: a policy uses it."""
        live = self.find(name)
        if live is None:
            return None
        if not check_mode:
            what = f"delete the registry {name}"
            try:
                self._api.call(what, "DELETE", f"{PATH}/{live['id']}")
            except NotFoundError:
                pass
            except UnsettledError:
                if self.find(name):
                    raise
        return flat(live)

    def ping(self, live: Row) -> str:
        """Whether Harbor reaches it now: empty, or why not."""
        try:
            self._api.call(f"reach the registry {live['name']}", "POST", f"{PATH}/ping", {"id": live["id"]})
        except (RefusedError, UnsettledError) as error:
            return error.message
        return ""

    def _create(
        self, name: str, wish: Row, options: t.Mapping[str, t.Any], check_mode: bool
    ) -> tuple[Row, Row | None, Row]:
        after = {**dict.fromkeys(("description", "ca_certificate", "access_key"), ""), "insecure": False, **wish}
        if check_mode:
            return {**after, "id": 0}, None, after
        credential = {"type": "basic", "access_key": after["access_key"], "access_secret": options["password"] or ""}
        body = {key: value for key, value in after.items() if key != "access_key"}
        what = f"create the registry {name} ({after['url']})"
        try:
            self._api.call(what, "POST", PATH, {**body, **({"credential": credential} if after["access_key"] else {})})
        except UnsettledError:
            if self.find(name) is None:
                raise
        except RefusedError as error:
            raise _explained(error) from error
        return self.need(name), None, after

    def _update(self, live: Row, body: Row) -> Row:
        what = f"change the registry {live['name']}"
        try:
            self._api.call(what, "PUT", f"{PATH}/{live['id']}", body)
        except UnsettledError:
            now = self.need(live["name"])
            if now.get("update_time") == live.get("update_time"):
                raise
        except RefusedError as error:
            raise _explained(error) from error
        return self.need(body["name"])


def _explained(error: RefusedError) -> RefusedError:
    if "unhealthy" not in error.message:
        return error
    return RefusedError(
        error.message,
        remedy="Harbor asks a registry before it stores it: check registry.url, username, password and certificate, "
        "and that this Harbor reaches that address.",
    )


def _wish(options: t.Mapping[str, t.Any]) -> Row:
    """What is given, as Harbor's fields."""
    wish: Row = {"name": options["name"], "type": options["type"]}
    for ours, theirs in (("url", "url"), ("description", "description"), ("username", "access_key")):
        if options[ours] is not None:
            wish[theirs] = options[ours].rstrip("/") if ours == "url" else options[ours]
    if options["validate_certs"] is not None:
        wish["insecure"] = not options["validate_certs"]
    if options["ca_path"]:
        try:
            wish["ca_certificate"] = Path(options["ca_path"]).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSpecError(
                f"registry.ca_path {options['ca_path']} cannot be read: {error}",
                remedy="Name a file of certificates in PEM form.",
            ) from error
    return wish


def flat(live: Row) -> Row:
    """A registry as it can be compared: without id, times, health and secret."""
    credential = live.get("credential") or {}
    row = {key: live.get(key) or "" for key in FIELDS if key not in ("access_key", "insecure")}
    row["url"] = row["url"].rstrip("/")
    return {**row, "insecure": bool(live.get("insecure")), "access_key": credential.get("access_key") or ""}


def shown(live: Row | None) -> Row | None:
    """For a result."""
    return None if live is None else {"id": live["id"], **flat(live), "status": live.get("status") or ""}
