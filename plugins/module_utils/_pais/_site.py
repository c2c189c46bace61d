# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

All the settings of one site, read at once, and their changes.
"""

from __future__ import annotations

import typing as t

from .._common._errors import ConflictError, NotFoundError, UnsettledError
from ._client import Api, Row
from ._kinds import AGENTS, BASES, INDEXES, METHODS, ORDER, SERVERS, TOOLS, Key, differing, path_of, portable, title

Object = dict[str, t.Any]


class Site:
    """What a site has. :meth:`load` first.

    :param kinds: those that the site must have; where it has no others, nothing refers to them.
    :param ignored: further fields that the server adds.
    :param methods: kind -> verb of its updates, where it is another.
    """

    def __init__(
        self,
        api: Api,
        kinds: t.Collection[str] = ORDER,
        *,
        ignored: t.Collection[str] = (),
        methods: t.Mapping[str, str] | None = None,
    ) -> None:
        self._api = api
        self._kinds = kinds
        self._ignored = frozenset(ignored)
        self._methods = {**METHODS, **(methods or {})}
        self.name = api.name
        self.ids: dict[Key, str] = {}
        self._rows: dict[Key, Row] = {}

    def load(self) -> Site:
        """Read everything. :raises ConflictError: two objects have one name, so that a name says nothing."""
        self.ids, self._rows = {}, {}
        for kind in ORDER:
            self._load(kind)
        self.find_tools()
        return self

    def find_tools(self) -> None:
        """What the MCP servers offer now."""
        for row in self._tools():
            self.ids[(TOOLS, str(row.get("server") or ""), str(row.get("name") or ""))] = row["id"]

    def _load(self, kind: str) -> None:
        bases = {key[2]: ident for key, ident in self.ids.items() if key[0] == BASES} if kind == INDEXES else {"": ""}
        for base, ident in bases.items():
            for row in self._list(kind, base, ident):
                key = (kind, base, str(row.get("name")))
                if key in self._rows:
                    raise ConflictError(
                        f"{self.name} has two {kind} called {key[2]} ({self.ids[key]} and {row['id']})",
                        remedy="Rename one: objects are found on the other site by their names.",
                    )
                self._rows[key], self.ids[key] = row, row["id"]

    def _list(self, kind: str, base: str, ident: str) -> list[Row]:
        try:
            return self._api.rows(f"read the {kind}{' of ' + base if base else ''}", path_of(kind, ident))
        except NotFoundError:
            if kind in self._kinds:
                raise
            return []

    def _tools(self) -> list[Row]:
        """Those of MCP servers; not every release has the list."""
        if not any(key[0] in (AGENTS, SERVERS) for key in self._rows):
            return []
        try:
            return self._api.rows("read the tools of the MCP servers", f"{path_of(SERVERS)}/tools")
        except NotFoundError:
            return []

    def objects(self, kinds: t.Collection[str] = ORDER) -> dict[Key, Object]:
        """What it has, as it can be written to a file, in the order in which it is made."""
        keys = {ident: key for key, ident in self.ids.items()}
        return {key: portable(row, key, keys, self._ignored) for key, row in self._rows.items() if key[0] in kinds}

    # -- changes -------------------------------------------------------------------------------------------------------

    def create(self, key: Key, body: Row) -> None:
        """Make it; an answer that was lost is looked for."""
        path = path_of(key[0], self.ids.get((BASES, "", key[1]), ""))
        try:
            row = self._api.call(f"create {title(key)}", "POST", path, body)
        except UnsettledError:
            self.load()
            if key not in self._rows:
                raise
            return
        self._rows[key], self.ids[key] = row, row["id"]

    def update(self, key: Key, body: Row, wanted: Object, *, provable: bool) -> None:
        """Change it to *wanted*, by *body*.

        :param provable: whether reading shows that it was done; a secret is never shown.
        """
        try:
            self._api.call(f"change {title(key)}", self._methods[key[0]], self._path(key), body)
        except UnsettledError:
            self.load()
            if not provable or key not in self._rows or differing(wanted, self.objects()[key]):
                raise

    def delete(self, key: Key) -> None:
        """Take it away."""
        try:
            self._api.call(f"delete {title(key)}", "DELETE", self._path(key))
        except (NotFoundError, UnsettledError):  # not every release can delete every kind
            self.load()
            if key in self._rows:
                raise

    def _path(self, key: Key) -> str:
        return f"{path_of(key[0], self.ids.get((BASES, '', key[1]), ''))}/{self.ids[key]}"
