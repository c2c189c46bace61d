# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The kinds of objects: where they are, how they are updated, what the server adds to them, which fields are secret.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

#: kind, name of the knowledge base (of an index, else empty), name
Key = tuple[str, str, str]

AGENTS, INDEXES, BASES, SERVERS = "agents", "indexes", "knowledge-bases", "mcp-servers"
#: Tools of MCP servers are found by the server, and only referred to.
TOOLS = "mcp-tools"
#: In the order in which they are made: what is referred to comes first.
ORDER = ("data-sources", SERVERS, BASES, INDEXES, AGENTS)
METHODS = {AGENTS: "POST", "data-sources": "PATCH", SERVERS: "PATCH", BASES: "POST", INDEXES: "POST"}
IMMUTABLE = {BASES: ("data_origin_type",)}
#: What the server adds; beside these, everything that ends in _at is a time.
ADDED = frozenset(
    {"id", "object", "status", "state", "kb_id", "knowledge_base_id", "created_by", "updated_by", "modified_by"}
)

_SECRET = re.compile(
    r"(^|_)(password|passphrase|secret|token|credentials?|api_?key|access_key|private_key|authorization)$"
)
#: Below a secret field these are none.
_PUBLIC = frozenset({"type", "auth_type", "user", "username", "email", "client_id"})
_URL_WITH_PASSWORD = re.compile(r"://[^/@\s:]*:[^/@\s]+@")


@dataclasses.dataclass(frozen=True)
class Secret:
    """A place for a secret; *name* is how people give it."""

    name: str


@dataclasses.dataclass(frozen=True)
class Reference:
    """Another object, by what it is called."""

    key: Key


def path_of(kind: str, base_id: str = "") -> str:
    """Below /api/v1."""
    if kind == AGENTS:
        return "/compatibility/openai/v1/agents"
    if kind == INDEXES:
        return f"/control/{BASES}/{base_id}/indexes"
    return f"/control/{kind}"


def title(key: Key) -> str:
    """For people, and the name of its secrets."""
    return "/".join(part for part in key if part)


def is_secret(field: str) -> bool:
    """Whether a field of that name holds a secret."""
    return bool(_SECRET.search(field.lower().replace("-", "_")))


def portable(row: t.Mapping[str, t.Any], key: Key, keys: t.Mapping[str, Key], ignored: t.Collection[str]) -> dict:
    """An object without what is of one site only: ids become references, secrets become places for them.

    :param keys: id -> object, of all that the site has.
    """
    kept = {
        name: value
        for name, value in row.items()
        if name not in ADDED and name not in ignored and not name.endswith("_at")
    }
    return {name: _walk(value, name, f"{title(key)}/{name}", keys, is_secret(name)) for name, value in kept.items()}


def _walk(value: t.Any, field: str, where: str, keys: t.Mapping[str, Key], secret: bool) -> t.Any:
    if isinstance(value, dict):
        return {
            name: _walk(inner, name, f"{where}/{name}", keys, (secret and name not in _PUBLIC) or is_secret(name))
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_walk(inner, field, f"{where}/{number}", keys, secret) for number, inner in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    if secret or (isinstance(value, str) and _URL_WITH_PASSWORD.search(value)):
        return Secret(where)
    if field.endswith(("_id", "_ids")) and value in keys:
        return Reference(keys[value])
    return value


def leaves(value: t.Any, kind: type) -> t.Iterator[t.Any]:
    """Every :class:`Secret` or :class:`Reference` within *value*."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner, kind)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, kind)


def resolved(value: t.Any, ids: t.Mapping[Key, str], secrets: t.Mapping[str, t.Any]) -> t.Any:
    """The value for a site: its ids, and the secrets themselves. All of them must be there."""
    if isinstance(value, Secret):
        return secrets[value.name]
    if isinstance(value, Reference):
        return ids[value.key]
    if isinstance(value, dict):
        return {name: resolved(inner, ids, secrets) for name, inner in value.items()}
    if isinstance(value, list):
        return [resolved(inner, ids, secrets) for inner in value]
    return value


def empty(value: t.Any) -> bool:
    """Nothing is said: a server may leave such a field out, or send null, or an empty list."""
    return value is None or value in ("", [], {})


def differing(wanted: t.Mapping[str, t.Any], live: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The fields of *wanted* that *live* does not have so."""
    return {
        name: value
        for name, value in wanted.items()
        if value != live.get(name) and not (empty(value) and empty(live.get(name)))
    }
