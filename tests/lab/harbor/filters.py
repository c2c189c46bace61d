# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a policy copies, and where to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import bad

TYPES = ("name", "tag", "label", "resource")
DECORATIONS = ("", "matches", "excludes")


def check(rows: Any) -> list[dict[str, Any]]:
    """:raises HarborError: a filter is none."""
    checked = []
    for row in rows or []:
        kind, value, decoration = row.get("type"), row.get("value"), row.get("decoration") or ""
        if kind not in TYPES:
            raise bad(f"invalid filter type: {kind}")
        if not (isinstance(value, list) if kind == "label" else isinstance(value, str)):
            raise bad(f"the type of filter value isn't {'string slice' if kind == 'label' else 'string'}")
        if decoration not in DECORATIONS:  # kept, but without effect, on names and resources
            raise bad(f"invalid filter decoration: {decoration}")
        if kind == "resource" and value not in ("image", "artifact", ""):
            raise bad(f"invalid resource filter: {value}")
        checked.append({"type": kind, "value": value, "decoration": decoration})
    return checked


def pattern(text: str) -> re.Pattern[str]:
    """``**`` crosses slashes, ``*`` and ``?`` do not, ``{a,b}`` is either."""
    parts = re.split(r"(\*\*|\*|\?|\{[^}]*\})", text)
    words = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    made = (
        words.get(part)
        or ("(" + "|".join(map(re.escape, part[1:-1].split(","))) + ")" if part.startswith("{") else re.escape(part))
        for part in parts
    )
    return re.compile("".join(made))


def choose(rows: Sequence[Mapping[str, Any]], filters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of repositories ``{name, artifacts: [{digest, tags, labels}]}`` what the filters leave; empty ones go."""
    chosen = []
    for row in rows:
        artifacts = [dict(artifact) for artifact in row["artifacts"]]
        for one in filters:
            value, excludes = one["value"], one["decoration"] == "excludes"
            if one["type"] == "name" and value and not pattern(value).fullmatch(row["name"]):
                artifacts = []
            elif one["type"] == "tag" and value:
                wanted = pattern(value)
                for artifact in artifacts:
                    artifact["tags"] = [tag for tag in artifact["tags"] if bool(wanted.fullmatch(tag)) != excludes]
                artifacts = [artifact for artifact in artifacts if artifact["tags"]]
            elif one["type"] == "label" and value:
                artifacts = [row for row in artifacts if (set(value) <= set(row["labels"])) != excludes]
        if artifacts:
            chosen.append({"name": row["name"], "artifacts": artifacts})
    return chosen


def destination(repository: str, namespace: str, count: int) -> str:
    """Its name on the other side; *count* of its leading parts become *namespace*, all but the last with -1."""
    if not namespace or count == 0:
        return repository
    parts = repository.split("/")
    kept = parts[-1:] if count < 0 else parts[count:]
    if not kept:
        raise ValueError(f"the destination namespace replace count {count} is too big for {repository}")
    return "/".join([namespace, *kept])
