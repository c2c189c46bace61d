# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One rule file of ours, and the entry of ``rule_files`` that makes Prometheus read it.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from pathlib import Path

from .._common import _atomic_file, _marked_block
from .._common._config_change import ManagedFile, candidate, check, converge, diff_entry
from .._common._errors import InvalidSpecError, NotFoundError
from .._common._marked_block import Marker
from .._common._waiter import Waiter
from ._client import PrometheusClient
from ._config import MainConfig, make_folders, owned_file, render_owned

LIST = ("rule_files",)


@dataclass(frozen=True)
class RuleFile:
    """What is wanted. ``content`` is the file as data (``groups``); ``None`` means that there shall be no such file."""

    path: str
    content: t.Mapping[str, t.Any] | None
    config_file: str
    include: bool = True
    promtool: str = "promtool"


def ensure(
    wish: RuleFile, client: PrometheusClient, *, waiter: t.Callable[[], Waiter] | None, check_mode: bool
) -> dict[str, t.Any]:
    """Make it so: check, install, reload, verify, or put everything back.

    :returns: ``changed``, ``path``, ``groups`` (names), ``included_by`` (``pattern``, ``entry``, or empty when absent),
        ``diff``.
    """
    groups = _groups(wish.content)
    with _atomic_file.locked(_atomic_file.resolve(wish.config_file)):
        main = MainConfig(wish.config_file)
        path = main.folder / wish.path
        marker = Marker("rules", path.stem)
        own = owned_file(path, main.path)
        without = _marked_block.remove_item(main.text, LIST, marker)
        main.view(without)  # a pattern that is not ours makes our entry superfluous
        entry_needed = wish.content is not None and not main.includes("rule_files", path)
        if entry_needed and not wish.include:
            raise NotFoundError(
                f"No entry of rule_files in {main.path} covers {path}: {main.patterns('rule_files') or 'none'}",
                remedy=f"Add {path.parent}/*.yml to rule_files, choose another path, or set include=true.",
            )
        after = _marked_block.put_item(main.text, LIST, str(path), marker) if entry_needed else without
        main.file.after = after.encode()
        own.after = None if wish.content is None else render_owned(dict(wish.content))
        created = _checked(wish, main, own, entry_needed, check_mode)
        files = [main.file, own] if wish.content is None else [own, main.file]
        changed = converge(
            files,
            reload=client.reload,
            loaded=lambda: _loaded(client, path, groups),
            what=f"Rule file {path}",
            waiter=waiter,
            remedy=lambda: (
                f"Prometheus was started with --config.file={client.config_file() or '(unknown)'}; "
                f"check that {main.path} is that file, and url the same server."
            ),
            check_mode=check_mode,
        )
    diff = [diff_entry(str(path), _text(own.before), _text(own.after))]
    blocks = [_marked_block.block_text(text, marker) for text in (main.text, after)]
    if blocks[0] != blocks[1]:
        diff.append(diff_entry(f"{main.path} (rule_files)", *blocks))
    return {
        "changed": changed or bool(created),
        "path": str(path),
        "groups": sorted(groups),
        "included_by": "" if wish.content is None else ("entry" if entry_needed else "pattern"),
        "diff": diff,
    }


def _groups(content: t.Mapping[str, t.Any] | None) -> dict[str, list[str]]:
    """``{group: [rule names]}``. :raises InvalidSpecError: not a rule file at all (promtool judges the rest)."""
    if content is None:
        return {}
    groups = content.get("groups")
    if not isinstance(groups, list) or not all(isinstance(group, dict) and group.get("name") for group in groups):
        raise InvalidSpecError(
            f"content.groups is {type(groups).__name__}", remedy="It is a list of groups, each with name and rules."
        )
    return {
        str(group["name"]): [
            str(rule.get("alert") or rule.get("record") or "")
            for rule in group.get("rules") or []
            if isinstance(rule, dict)
        ]
        for group in groups
    }


def _checked(wish: RuleFile, main: MainConfig, own: ManagedFile, entry_needed: bool, check_mode: bool) -> list[str]:
    """Let promtool read the new file and the new main file; returns the folders that had to be made for it."""
    if own.after is None:
        if main.file.changed:
            with candidate(main.path, main.file.after or b"") as copy:
                _promtool(wish.promtool, "config", copy, main.path, {})
        return []
    created = make_folders([own.path.parent], check_mode=check_mode)
    if not own.changed and not main.file.changed:
        return created
    beside = own.path if own.path.parent.is_dir() else main.path.with_name(own.path.name)
    with candidate(beside, own.after, like=main.path) as rules:
        _promtool(wish.promtool, "rules", rules, own.path, {})
        if entry_needed and main.file.changed:
            marker = Marker("rules", own.path.stem)
            text = _marked_block.put_item(main.text, LIST, str(rules), marker)
            with candidate(main.path, text.encode()) as copy:
                _promtool(wish.promtool, "config", copy, main.path, {str(rules): str(own.path)})
    return created


def _promtool(promtool: str, kind: str, copy: Path, path: Path, shown: t.Mapping[str, str]) -> None:
    check(
        promtool,
        ["check", kind, str(copy)],
        shown={**shown, str(copy): str(path)},
        remedy="Correct the rules, or what else the message names.",
        package="Prometheus",
    )


def _loaded(client: PrometheusClient, path: Path, wanted: t.Mapping[str, t.Sequence[str]]) -> bool:
    """Whether exactly the wanted groups are loaded from the file."""
    found = {group["name"]: group["rules"] for group in client.rule_groups() if _same_file(group["file"], path)}
    return found == dict(wanted)


def _same_file(reported: str, path: Path) -> bool:
    """Prometheus reports a path relative to its own working folder when it was started with a relative one."""
    other = Path(reported)
    return other.resolve() == path.resolve() if other.is_absolute() else other.name == path.name


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "replace")
