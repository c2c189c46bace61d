# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of objects: their fields, what is refused, what the server adds."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

MASK = "********"
Row = dict[str, Any]


class PaisError(Exception):
    """Becomes ``{"detail": [{error_code, loc, value, msg}]}``."""

    def __init__(self, status: int, code: str, message: str, loc: tuple[str, ...] = (), value: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.detail = {"error_code": code, "loc": list(loc), "value": value, "msg": message}

    def response(self) -> web.Response:
        return web.json_response({"detail": [self.detail]}, status=self.status)


def invalid(field: str, value: Any, message: str) -> PaisError:
    return PaisError(422, "VALIDATION_ERROR", message, ("body", field), value)


@dataclasses.dataclass(frozen=True)
class Field:
    """One field: its type, what it may be, what it is where nothing is given."""

    type: type | tuple[type, ...] = str
    choices: tuple[str, ...] = ()
    default: Any = None
    required: bool = False
    immutable: bool = False


@dataclasses.dataclass(frozen=True)
class Kind:
    """*path* below /api/v1, *object* as the server calls it, *verb* of an update."""

    path: str
    object: str
    verb: str
    fields: Mapping[str, Field]
    added: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    unique: bool = True

    def checked(self, body: Mapping[str, Any], old: Row | None) -> Row:
        """The fields of an object after *body*. :raises PaisError: 422."""
        unknown = set(body) - set(self.fields)
        if unknown:
            name = sorted(unknown)[0]
            raise invalid(name, body[name], "Extra inputs are not permitted")
        row: Row = {}
        for name, field in self.fields.items():
            value = body[name] if name in body else (old[name] if old is not None else field.default)
            if value is None and field.required:
                raise invalid(name, value, "Field required")
            if value is not None and (not isinstance(value, field.type) or isinstance(value, bool)):
                raise invalid(name, value, f"Input should be a valid {field.type}")
            if value is not None and field.choices and value not in field.choices:
                raise invalid(name, value, f"Input should be {' or '.join(map(repr, field.choices))}")
            if old is not None and field.immutable and value != old[name]:
                raise invalid(name, value, f"{name} cannot be changed")
            row[name] = value
        return row


NAME = Field(required=True)
TEXT = Field()
CRON = re.compile(r"^\S+(\s+\S+){4}$")

KINDS = {
    "agents": Kind(
        "compatibility/openai/v1/agents", "agent", "POST",
        {
            "name": NAME, "description": TEXT, "model": Field(required=True), "instructions": TEXT,
            "index_id": TEXT, "index_top_n": Field(int), "index_similarity_cutoff": Field((int, float)),
            "tools": Field(list, default=[]), "session_max_length": Field(int, default=4096),
            "session_summarization_strategy": Field(default="delete_oldest"),
        },
        {"status": "READY"}, unique=False,
    ),
    "data-sources": Kind(
        "control/data-sources", "data_source", "PATCH",
        {
            "name": NAME, "description": TEXT,
            "type": Field(choices=("GOOGLE_DRIVE", "LOCAL_FILES", "HTTP"), default="LOCAL_FILES", immutable=True),
            "origin_url": TEXT, "credentials": Field(dict),
        },
    ),
    "mcp-servers": Kind(
        "control/mcp-servers", "mcp_server", "PATCH",
        {"name": NAME, "description": TEXT, "url": Field(required=True), "auth_token": TEXT},
    ),
    "knowledge-bases": Kind(
        "control/knowledge-bases", "knowledge_base", "POST",
        {
            "name": NAME, "description": TEXT, "index_refresh_policy": Field(dict, default={"policy_type": "MANUAL"}),
            "data_origin_type": Field(choices=("DATA_SOURCES", "LOCAL_FILES"), default="LOCAL_FILES", immutable=True),
        },
    ),
    "indexes": Kind(
        "control/knowledge-bases/{kb}/indexes", "index", "POST",
        {
            "name": NAME, "description": TEXT, "embeddings_model_endpoint": Field(required=True),
            "text_splitting": Field(choices=("SENTENCE", "PARAGRAPH", "FIXED"), default="SENTENCE"),
            "chunk_size": Field(int, default=400), "chunk_overlap": Field(int, default=100),
        },
        {"status": "AVAILABLE"},
    ),
}  # fmt: skip


def check_policy(policy: Mapping[str, Any]) -> None:
    """Of a knowledge base. :raises PaisError: 422."""
    kind, cron = policy.get("policy_type"), policy.get("cron_expression")
    if kind not in ("MANUAL", "SCHEDULED"):
        raise invalid("index_refresh_policy", policy, "policy_type should be MANUAL or SCHEDULED")
    if (kind == "SCHEDULED") != bool(cron) or (cron and not CRON.match(cron)):
        raise invalid("index_refresh_policy", policy, "cron_expression goes with SCHEDULED and has five fields")


def masked(row: Row) -> Row:
    """As the server shows it: secrets are there, and not told."""
    shown = dict(row)
    if shown.get("credentials"):
        shown["credentials"] = {
            key: value if key in ("type", "username") else MASK for key, value in shown["credentials"].items()
        }
    if shown.get("auth_token"):
        shown["auth_token"] = MASK
    return shown
