# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Objects as YAML files: ``<kind>/<name>.yml``, of indexes ``indexes/<knowledge base>/<name>.yml``. The same object gives
the same bytes.
"""

from __future__ import annotations

import typing as t
from pathlib import Path
from urllib.parse import quote

from .._common._errors import InvalidSpecError
from .._common._yaml import yaml
from ._kinds import INDEXES, ORDER, TOOLS, Key, Reference, Secret, title

SUFFIX = ".yml"
HEAD = "# Written by onprem.autoscale.pais_settings. Secrets are named, never stored.\n"
BASE_FIELD = "knowledge_base"


def file_of(key: Key) -> str:
    """Below the folder; signs that a file name cannot have are written as in addresses."""
    kind, base, name = key
    parts = [_safe(base)] if base else []
    return "/".join([kind, *parts, _safe(name) + SUFFIX])


def _safe(name: str) -> str:
    text = quote(name, safe=" ")
    return "%2E" + text[1:] if text.startswith(".") else text


def files_in(folder: Path, kinds: t.Collection[str]) -> list[Path]:
    """Every file of an object that is there."""
    found = []
    for kind in kinds:
        found += sorted((folder / kind).glob(f"*/*{SUFFIX}" if kind == INDEXES else f"*{SUFFIX}"))
    return [path for path in found if not path.name.startswith(".")]


def to_text(key: Key, value: t.Mapping[str, t.Any]) -> str:
    """The file of an object."""
    fields = {**value, "name": key[2], **({BASE_FIELD: key[1]} if key[1] else {})}
    return HEAD + yaml.dump(
        _plain(fields), Dumper=_dumper(), sort_keys=True, default_flow_style=False, allow_unicode=True, width=120
    )


def from_text(text: str, kind: str, origin: str) -> tuple[Key, dict[str, t.Any]]:
    """The object of a file. :raises InvalidSpecError: names the file and what is wrong."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidSpecError(f"{origin} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or not isinstance(found.get("name"), str) or not found["name"]:
        raise InvalidSpecError(f"{origin}: name is missing; allowed: an object with a name")
    base = found.pop(BASE_FIELD, "") if kind == INDEXES else ""
    if kind == INDEXES and not base:
        raise InvalidSpecError(f"{origin}: {BASE_FIELD} is missing; allowed: the name of a knowledge base")
    return (kind, base, found["name"]), _parsed(found, origin)


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, Secret):
        return {"secret": value.name}
    if isinstance(value, Reference):
        kind, base, name = value.key
        where = "server" if kind == TOOLS else BASE_FIELD
        return {"reference": {"kind": kind, "name": name, **({where: base} if base else {})}}
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _parsed(value: t.Any, origin: str) -> t.Any:
    if isinstance(value, list):
        return [_parsed(inner, origin) for inner in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"secret"} and isinstance(value["secret"], str):
        return Secret(value["secret"])
    if set(value) == {"reference"} and isinstance(value["reference"], dict):
        row = value["reference"]
        if row.get("kind") not in (*ORDER, TOOLS) or not isinstance(row.get("name"), str):
            raise InvalidSpecError(
                f"{origin}: reference is {row}; allowed: kind ({', '.join((*ORDER, TOOLS))}) and name"
            )
        return Reference((row["kind"], row.get(BASE_FIELD) or row.get("server") or "", row["name"]))
    return {name: _parsed(inner, origin) for name, inner in value.items()}


def read(folder: Path, kinds: t.Collection[str]) -> dict[Key, tuple[str, dict[str, t.Any]]]:
    """Objects by key, each with the file that it is from."""
    found: dict[Key, tuple[str, dict[str, t.Any]]] = {}
    for path in files_in(folder, kinds):
        origin = str(path.relative_to(folder))
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSpecError(f"{origin} cannot be read: {error}") from error
        key, value = from_text(text, origin.partition("/")[0], origin)
        if key in found:
            raise InvalidSpecError(f"{origin} and {found[key][0]} are both {title(key)}", remedy="Keep one of them.")
        found[key] = (origin, value)
    return found


def _dumper() -> t.Any:
    """Texts of several lines as a block, so that a change of one line is one line in Git."""

    class Dumper(yaml.SafeDumper):
        """Ours, so that PyYAML's own stays as it is."""

        def ignore_aliases(self, data: t.Any) -> bool:
            """The same list twice is written twice."""
            return True

    def text(dumper: t.Any, value: str) -> t.Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return Dumper
