# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

From files to a site. Everything that can be refused is refused before the first change.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from .._common._config_change import diff_entry
from .._common._errors import AutoscaleError, InvalidSpecError, NotFoundError, RefusedError
from . import _files
from ._kinds import (
    BASES,
    IMMUTABLE,
    INDEXES,
    ORDER,
    SERVERS,
    TOOLS,
    Key,
    Reference,
    Secret,
    differing,
    empty,
    leaves,
    resolved,
    title,
)
from ._site import Object, Site


class Wish(t.NamedTuple):
    """One object of a file, and what is to be done for it: ``fields`` are those that differ, all of a new one."""

    key: Key
    origin: str
    value: Object
    fields: Object
    action: str


def restore(
    site: Site,
    folder: Path,
    kinds: t.Sequence[str],
    *,
    secrets: t.Mapping[str, t.Any],
    update_secrets: bool,
    prune: bool,
    check_mode: bool,
) -> dict[str, t.Any]:
    """Make the site have what the files say; with *prune* nothing else of these kinds.

    :param secrets: name of a secret -> its value.
    :returns: ``changed``, ``objects`` (``kind``, ``name``, ``knowledge_base``, ``file``, ``action``), ``secrets``,
        ``diff``.
    """
    if not folder.is_dir():
        raise NotFoundError(f"There is no folder {folder}", remedy="Export the settings of the other site first.")
    files = _files.read(folder, kinds)
    if prune and not files:
        raise RefusedError(
            f"{folder} has no object: everything of {site.name} would be deleted",
            remedy="Check folder and kinds, or run without prune.",
        )
    live = site.load().objects()
    wishes = [_wish(key, *files[key], live, secrets, update_secrets) for key in sorted(files, key=_order)]
    _check(wishes, live, secrets, site)
    gone = [key for key in sorted(live, key=_order, reverse=True) if prune and key[0] in kinds and key not in files]
    rows = [_row(wish.key, wish.origin, wish.action) for wish in wishes]
    rows += [_row(key, "", "deleted") for key in gone]
    named = sorted({one.name for wish in wishes for one in leaves(wish.value, Secret)})
    changed = any(row["action"] != "unchanged" for row in rows)
    result = {"changed": changed, "objects": rows, "secrets": named, "diff": _diff(wishes, gone, live)}
    if not check_mode:
        _apply(site, wishes, gone, secrets, result)
    return result


def _order(key: Key) -> tuple[int, str, str]:
    return (ORDER.index(key[0]), *key[1:])


def _wish(
    key: Key, origin: str, value: Object, live: t.Mapping[Key, Object], secrets: t.Mapping[str, t.Any], always: bool
) -> Wish:
    value = _with_given(key, value, secrets)
    there = live.get(key)
    if there is None:
        fields = {name: field for name, field in value.items() if not empty(field)}
        return Wish(key, origin, value, fields, "created")
    fields = differing(value, there)
    if always:
        fields.update({name: field for name, field in value.items() if list(leaves(field, Secret))})
    return Wish(key, origin, value, fields, "updated" if fields else "unchanged")


def _with_given(key: Key, value: Object, secrets: t.Mapping[str, t.Any]) -> Object:
    """A server that tells nothing of a secret leaves no place for it in the file: one that is given gets its place."""
    made = dict(value)
    for name in secrets:
        if not name.startswith(title(key) + "/"):
            continue
        path = name[len(title(key)) + 1 :].split("/")
        if len(path) == 1:
            made[path[0]] = Secret(name)
        elif len(path) == 2 and isinstance(made.get(path[0]) or {}, dict):
            made[path[0]] = {**(made.get(path[0]) or {}), path[1]: Secret(name)}
    return made


def _check(wishes: t.Sequence[Wish], live: t.Mapping[Key, Object], secrets: t.Mapping[str, t.Any], site: Site) -> None:
    known = {*site.ids, *(wish.key for wish in wishes)}
    lacking = set()
    for wish in wishes:
        if wish.key[0] == INDEXES and (BASES, "", wish.key[1]) not in known:
            raise InvalidSpecError(f"{wish.origin}: there is no knowledge base {wish.key[1]}, here or on {site.name}")
        for one in leaves(wish.value, Reference):
            if one.key not in known and not (one.key[0] == TOOLS and (SERVERS, "", one.key[1]) in known):
                raise InvalidSpecError(
                    f"{wish.origin} refers to {title(one.key)}, which is neither in the files nor on {site.name}",
                    remedy="Export all kinds together, or make it there first.",
                )
        for name in IMMUTABLE.get(wish.key[0], ()):
            if wish.action == "updated" and name in wish.fields:
                there = live[wish.key].get(name)
                raise RefusedError(
                    f"{wish.origin}: {name} is {wish.value[name]}, and {there} on {site.name}; it cannot be changed",
                    remedy="Delete the object there, with what it holds, or correct the file.",
                )
        lacking |= {one.name for one in leaves(wish.fields, Secret)} - set(secrets)
    if lacking:
        raise InvalidSpecError(
            f"These secrets are wanted and not given: {', '.join(sorted(lacking))}",
            remedy="Give them in secrets, from a vault; files never have them.",
        )


def _apply(
    site: Site,
    wishes: t.Sequence[Wish],
    gone: t.Sequence[Key],
    secrets: t.Mapping[str, t.Any],
    result: dict[str, t.Any],
) -> None:
    """In the order in which they refer to each other; who fails is told with what is done so far."""
    done: list[str] = []
    try:
        for wish in wishes:
            if wish.action == "unchanged":
                continue
            _find_tools(site, wish)
            body = resolved(wish.fields, site.ids, secrets)
            if wish.action == "created":
                site.create(wish.key, body)
            else:
                provable = not list(leaves(wish.fields, Secret))
                site.update(wish.key, body, wish.value, provable=provable)
            done.append(title(wish.key))
        for key in gone:
            site.delete(key)
            done.append(title(key))
    except AutoscaleError as error:
        error.result = {**result, "changed": bool(done), "done": done, **error.result}
        raise


def _find_tools(site: Site, wish: Wish) -> None:
    """The tools of an MCP server that was made a moment ago are there only now."""
    wanted = {one.key for one in leaves(wish.fields, Reference)}
    if wanted - set(site.ids):
        site.find_tools()
    lacking = sorted(title(key) for key in wanted - set(site.ids))
    if lacking:
        raise NotFoundError(
            f"{wish.origin} refers to {', '.join(lacking)}, which the MCP servers of {site.name} do not offer",
            remedy="Check that PAIS there reaches the MCP server, and run again: what is done is not done twice.",
        )


def _row(key: Key, origin: str, action: str) -> dict[str, str]:
    return {
        "kind": key[0],
        "knowledge_base": key[1],
        "name": key[2],
        "file": origin or _files.file_of(key),
        "action": action,
    }


def _diff(wishes: t.Sequence[Wish], gone: t.Sequence[Key], live: t.Mapping[Key, Object]) -> list[dict[str, str]]:
    """Of each change the object as its file would be before and after."""
    entries = []
    for wish in wishes:
        if wish.action != "unchanged":
            there = live.get(wish.key)
            before = _files.to_text(wish.key, there) if there is not None else ""
            after = _files.to_text(wish.key, {**(there or {}), **wish.value})
            entries.append(diff_entry(title(wish.key), before, after))
    return entries + [diff_entry(title(key), _files.to_text(key, live[key]), "") for key in gone]
