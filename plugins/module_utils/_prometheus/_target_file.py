# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The content of a ``file_sd`` file as a value: ``[{"targets": ["host:port"], "labels": {name: value}}]``. Pure functions.
"""

from __future__ import annotations

import json
import re
import typing as t

from .._common._errors import InvalidSpecError, RefusedError

Groups = t.List[t.Dict[str, t.Any]]  # noqa: UP006 - evaluated at import time on old interpreters of managed hosts
_ADDRESS = re.compile(r"^(?:\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})$")
_LABEL = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_]*$")


def parse(content: bytes | None, origin: str) -> Groups:
    """The groups of a file; none for a missing or empty one. :raises RefusedError: not a file_sd file."""
    if content is None or not content.strip():
        return []
    try:
        data = json.loads(content)
    except ValueError as error:
        raise RefusedError(
            f"{origin} is not JSON: {error}",
            remedy="Correct or remove the file; it is written whole and never guessed at.",
        ) from error
    if data is None:
        return []
    if not isinstance(data, list):
        raise RefusedError(f"{origin} is not a list of target groups but a {type(data).__name__}")
    for group in data:
        targets = group.get("targets") if isinstance(group, dict) else None
        labels = (group.get("labels") or {}) if isinstance(group, dict) else None
        if (
            not isinstance(targets, list)
            or not all(isinstance(address, str) for address in targets)
            or not isinstance(labels, dict)
        ):
            raise RefusedError(
                f"{origin} holds a group that is not {{targets: [...], labels: {{...}}}}: {str(group)[:200]}"
            )
    return data


def wanted(rows: t.Sequence[t.Mapping[str, t.Any]], common: t.Mapping[str, t.Any] | None) -> dict[str, dict[str, str]]:
    """``{address: labels}`` of module rows; a row's own labels win. :raises InvalidSpecError: all faults at once."""
    faults: list[str] = []
    result: dict[str, dict[str, str]] = {}
    for row in rows:
        address = str(row.get("address") or "")
        found = _ADDRESS.match(address)
        if not found or not 0 < int(found.group("port")) < 65536:
            faults.append(f"address {address!r} is not host:port")
        labels = texts({**(common or {}), **(row.get("labels") or {})})
        faults += [f"label {name!r} of {address} is not a label name" for name in labels if not _LABEL.match(name)]
        if result.get(address, labels) != labels:
            faults.append(f"address {address} is given twice with different labels")
        result[address] = labels
    if faults:
        raise InvalidSpecError(
            f"targets: {'; '.join(faults)}",
            remedy="An address is host:port without a scheme; a label name is letters, digits and underscores.",
        )
    return result


def addresses(groups: Groups) -> dict[str, dict[str, str]]:
    """``{address: labels}`` of a file."""
    return {address: dict(group.get("labels") or {}) for group in groups for address in group["targets"]}


def put(groups: Groups, rows: t.Mapping[str, t.Mapping[str, str]]) -> Groups:
    """The groups with every row in, under its labels; everybody else's targets and their order stay."""
    current = addresses(groups)
    moved = {address for address, labels in rows.items() if current.get(address) != labels}
    if not moved:
        return groups
    result = take_out(groups, moved)
    for address in (address for address in rows if address in moved):
        labels = dict(rows[address])
        home = next((group for group in result if (group.get("labels") or {}) == labels), None)
        if home is None:
            home = {"targets": [], "labels": labels}
            result.append(home)
        home["targets"] = [*home["targets"], address]
    return result


def take_out(groups: Groups, gone: t.Collection[str]) -> Groups:
    """The groups without these addresses; a group that loses its last target goes too."""
    result = []
    for group in groups:
        left = [address for address in group["targets"] if address not in gone]
        if left or not group["targets"]:
            result.append({**group, "targets": left})
    return result


def render(groups: Groups) -> bytes:
    """The file: two-space JSON with a line end."""
    return (json.dumps(groups, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def texts(labels: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Label values as Prometheus takes them: strings."""
    return {str(name): _value(value) for name, value in labels.items()}


def _value(value: t.Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
