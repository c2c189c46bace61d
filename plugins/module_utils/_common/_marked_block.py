# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One item of a YAML list that belongs to us, in a file that belongs to somebody else.

The item stands between two comment lines, always as the first item of its list. It is put in and taken out as text, at
a place that PyYAML's node marks give; comments, order and spelling of everything else stay as they are, byte by byte.
Afterwards both texts are parsed and compared: an edit that would change anything else is refused. Where the list itself
was missing or empty, its key is written in a marked section of its own, which goes with the last item and puts back
what was there, so that taking out everything gives the first text again.
"""

from __future__ import annotations

import copy
import json
import re
import typing as t
from dataclasses import dataclass

from ._errors import ConflictError, InvalidSpecError, RefusedError
from ._yaml import yaml

OWNER = "onprem.autoscale"
KeyPath = t.Tuple[str, ...]  # noqa: UP006 - evaluated at import time on old interpreters of managed hosts
_NULLS = ("", "~", "null", "Null", "NULL")
_WAS = "# was |"


@dataclass(frozen=True)
class Marker:
    """The two comment lines around a block: *kind* (``job``, ``route`` ...) and *name* of the thing."""

    kind: str
    name: str

    def __post_init__(self) -> None:
        if not self.name or self.name != " ".join(self.name.split()):
            raise InvalidSpecError(
                f"{self.name!r} cannot name a {self.kind}", remedy="Use a name without line breaks and double spaces."
            )

    @property
    def begin(self) -> str:
        """The first line, without indentation."""
        return f"# BEGIN {OWNER} {self.kind} {self.name}"

    @property
    def end(self) -> str:
        """The last line, without indentation."""
        return f"# END {OWNER} {self.kind} {self.name}"


@dataclass(frozen=True)
class _Span:
    start: int
    stop: int
    indent: str


def put_item(text: str, path: KeyPath, item: t.Any, marker: Marker) -> str:
    """The text with *item* in the marked block of the list at *path* (``("route", "routes")``).

    An equal item leaves the text as it is. :raises RefusedError: the file is written in a way that cannot be edited
    safely, with the way to write it. :raises ConflictError: the marks are damaged.
    """
    span = _find(text, marker)
    if span is None:
        result = _insert(text, path, item, marker)
    elif _load(text[span.start : span.stop]) == [_plain(item)]:
        return text
    else:
        body = text[span.start : span.stop]
        tail = body[len(body.rstrip("\r\n")) :]
        result = text[: span.start] + _block(marker, item, span.indent, _newline(text)) + tail + text[span.stop :]
    _prove(text, result, path, marker, _plain(item))
    return result


def remove_item(text: str, path: KeyPath, marker: Marker) -> str:
    """The text without the marked block, and without the list's section when nothing is left in it."""
    span = _find(text, marker)
    if span is None:
        return text
    result = _cut(text, span)
    section_marker = Marker("section", ".".join(path))
    section = _find(result, section_marker)
    if section is not None and _is_null(_value(result, path)):
        result = _restore(result, section)
    _prove(text, result, path, marker, None)
    return result


def block_text(text: str, marker: Marker) -> str:
    """The marked block with its two lines, or an empty string: what a diff shows."""
    span = _find(text, marker)
    return text[span.start : span.stop] if span else ""


def block_item(text: str, marker: Marker) -> t.Any:
    """The item in the marked block, every scalar as a string; ``None`` without a block."""
    span = _find(text, marker)
    items = _load(text[span.start : span.stop]) if span else None
    return items[0] if isinstance(items, list) and items else None


def parse(text: str, origin: str) -> dict[str, t.Any]:
    """The document as a dict whose scalars are all strings. :raises RefusedError: it is not a YAML mapping."""
    try:
        document = _load(text)
    except yaml.YAMLError as error:
        raise RefusedError(f"{origin} is not valid YAML: {_one_line(error)}", remedy="Correct the file.") from error
    if document in (None, ""):
        return {}
    if not isinstance(document, dict):
        raise RefusedError(f"{origin} is not a YAML mapping but a {type(document).__name__}")
    return document


def dump(data: t.Any) -> str:
    """Block style YAML, keys in the given order, no aliases, long lines kept whole."""
    return yaml.dump(
        data, Dumper=_dumper(), sort_keys=False, default_flow_style=False, allow_unicode=True, width=1_000_000
    )


def with_list(text: str, key: str, values: t.Sequence[str]) -> str:
    """The text with the top-level list *key* replaced: for a copy that is only checked, never installed."""
    key_node, value = _entry(_compose(text), key)
    if value is None:
        return text
    items = ", ".join(json.dumps(value) for value in values)
    return f"{text[: key_node.end_mark.index]}: [{items}]\n{text[value.end_mark.index :]}"


def lookup(document: t.Any, path: KeyPath) -> t.Any:
    """The value at *path*, or ``None``."""
    for key in path:
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document


# -- text ----------------------------------------------------------------------------------------------------


def _find(text: str, marker: Marker) -> _Span | None:
    begins = _lines(text, marker.begin)
    ends = _lines(text, marker.end)
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or ends[0].start() < begins[0].start():
        raise ConflictError(
            f"The marks of {marker.kind} {marker.name} are damaged: {len(begins)} x {marker.begin!r}, "
            f"{len(ends)} x {marker.end!r}",
            remedy="Remove the block and its marks by hand, then run again.",
        )
    return _Span(begins[0].start(), ends[0].end(), begins[0].group("indent"))


def _lines(text: str, line: str) -> list[re.Match[str]]:
    return list(re.finditer(rf"^(?P<indent>[ ]*){re.escape(line)}[ \t]*(?:\r?\n|\Z)", text, re.MULTILINE))


def _newline(text: str) -> str:
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def _block(marker: Marker, item: t.Any, indent: str, newline: str) -> str:
    """The block without a line end behind its last line."""
    body = [f"{indent}{line}" if line else line for line in dump([item]).splitlines()]
    return newline.join([f"{indent}{marker.begin}", *body, f"{indent}{marker.end}"])


def _cut(text: str, span: _Span) -> str:
    """Take a span out; a block that was hung behind a file without a last line end takes the line end with it."""
    before, after = text[: span.start], text[span.stop :]
    if not after and not text.endswith("\n"):
        before = before[:-2] if before.endswith("\r\n") else before[:-1]
    return before + after


def _restore(text: str, section: _Span) -> str:
    body = text[section.start : section.stop]
    for line in body.splitlines(keepends=True):
        if line.lstrip(" ").startswith(_WAS):
            original = line.rstrip("\r\n").partition(_WAS)[2]
            tail = body[len(body.rstrip("\r\n")) :]
            return text[: section.start] + original + tail + text[section.stop :]
    return _cut(text, section)


def _insert(text: str, path: KeyPath, item: t.Any, marker: Marker) -> str:
    newline = _newline(text)
    root = _compose(text)
    parent_key, parent = None, root
    for key in path[:-1]:
        _require_block(parent, path)
        parent_key, parent = _entry(parent, key)
        if parent is None:
            raise RefusedError(f"The file has no {key}", remedy=f"Write the {key} section first.")
    key_node: t.Any = None
    value: t.Any = None
    if parent is not None and not (parent is root and _is_null(parent)):
        _require_block(parent, path)
        key_node, value = _entry(parent, path[-1])
    if value is None:
        return _insert_section(text, path, item, marker, parent_key, parent, newline)
    if isinstance(value, yaml.SequenceNode) and not value.flow_style:
        indent = " " * value.start_mark.column
        at = _line_end(text, key_node.end_mark.index)
    elif (isinstance(value, yaml.SequenceNode) and not value.value) or _is_null(value):
        indent = " " * (key_node.start_mark.column + 2)
        at = _line_end(text, value.end_mark.index)
        if value.end_mark.index > value.start_mark.index:  # an empty list in words: [] or null
            return _replace_empty(text, path, item, marker, key_node, at, newline)
    else:
        raise _unsafe(path)
    return _put_lines(text, at, _block(marker, item, indent, newline), newline)


def _insert_section(
    text: str, path: KeyPath, item: t.Any, marker: Marker, parent_key: t.Any, parent: t.Any, newline: str
) -> str:
    """The list does not exist: write its key in a section of its own, and the item below it."""
    if parent_key is None:  # top level: at the end of the file
        at = len(text)
        column = 0 if parent is None or _is_null(parent) else parent.start_mark.column
    else:  # first key of its mapping
        at = _line_end(text, parent_key.end_mark.index)
        column = parent.start_mark.column
    indent = " " * column
    section = _section(path, indent, [f"{indent}{path[-1]}:"], newline)
    return _put_lines(text, at, section + newline + _block(marker, item, indent + "  ", newline), newline)


def _replace_empty(
    text: str, path: KeyPath, item: t.Any, marker: Marker, key_node: t.Any, at: int, newline: str
) -> str:
    """``key: []`` cannot take an item: write the key alone, and keep the line for the day the last item goes."""
    start = key_node.start_mark.index
    line_start = text.rfind("\n", 0, start) + 1
    original = text[line_start:at]
    if text[line_start:start].strip(" ") or "\n" in original.rstrip("\r\n"):
        raise _unsafe(path)
    indent = text[line_start:start]
    lines = [f"{indent}{_WAS}" + original.rstrip("\r\n"), f"{indent}{path[-1]}:"]
    tail = original[len(original.rstrip("\r\n")) :]
    body = _section(path, indent, lines, newline) + newline + _block(marker, item, indent + "  ", newline)
    return text[:line_start] + body + tail + text[at:]


def _section(path: KeyPath, indent: str, lines: list[str], newline: str) -> str:
    marker = Marker("section", ".".join(path))
    return newline.join([f"{indent}{marker.begin}", *lines, f"{indent}{marker.end}"])


def _put_lines(text: str, at: int, lines: str, newline: str) -> str:
    if at == len(text) and text and not text.endswith("\n"):
        return text + newline + lines
    return text[:at] + lines + newline + text[at:]


def _line_end(text: str, index: int) -> int:
    """The offset behind the line that holds *index*."""
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


# -- YAML ----------------------------------------------------------------------------------------------------


def _load(text: str) -> t.Any:
    """Parse with every scalar as a string: enough to compare, and nothing in a foreign file can make it fail."""
    return yaml.load(text, Loader=yaml.BaseLoader)


def _plain(item: t.Any) -> t.Any:
    return _load(dump([item]))[0]


def _compose(text: str) -> t.Any:
    try:
        return yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise RefusedError(f"The file is not valid YAML: {_one_line(error)}", remedy="Correct the file.") from error


def _dumper() -> t.Any:
    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: t.Any) -> bool:
            return True

    def text(dumper: t.Any, data: str) -> t.Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)

    Dumper.add_representer(str, text)
    return Dumper


def _entry(mapping: t.Any, key: str) -> tuple[t.Any, t.Any]:
    for key_node, value in mapping.value:
        if isinstance(key_node, yaml.ScalarNode) and key_node.value == key:
            return key_node, value
    return None, None


def _value(text: str, path: KeyPath) -> t.Any:
    node = _compose(text)
    for key in path:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = _entry(node, key)[1]
    return node


def _is_null(node: t.Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _NULLS


def _require_block(node: t.Any, path: KeyPath) -> None:
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        raise _unsafe(path)


def _unsafe(path: KeyPath) -> RefusedError:
    name = ".".join(path)
    return RefusedError(
        f"{name} is written in a way that cannot be edited without touching what is not ours "
        "(flow style, an alias or an anchor)",
        remedy=f"Write {name} in block style: the key on a line of its own, each item behind a dash.",
    )


def _prove(old: str, new: str, path: KeyPath, marker: Marker, item: t.Any) -> None:
    """Both texts must say the same but for our item."""
    try:
        before, after = _load(old), _load(new)
        mine = _index(old, path, marker)
    except yaml.YAMLError as error:
        raise _proof_failed(path, marker, f"it would not be YAML any more: {_one_line(error)}") from error
    expected = copy.deepcopy(before) if isinstance(before, dict) else {}
    after = after if isinstance(after, dict) else {}
    holder = lookup(expected, path[:-1]) if path[:-1] else expected
    actual = lookup(after, path[:-1]) if path[:-1] else after
    if not isinstance(holder, dict) or not isinstance(actual, dict):
        raise _proof_failed(path, marker, "the list's parent would change")
    items = _as_list(holder.pop(path[-1], None))
    if mine is not None:
        items[mine : mine + 1] = [] if item is None else [item]
    elif item is not None:
        items.insert(0, item)
    if items != _as_list(actual.pop(path[-1], None)) or expected != after:
        raise _proof_failed(path, marker, "something outside of the block would change")


def _as_list(value: t.Any) -> list[t.Any]:
    return list(value) if isinstance(value, list) else []


def _index(text: str, path: KeyPath, marker: Marker) -> int | None:
    """Which item of the list stands in the block."""
    span = _find(text, marker)
    if span is None:
        return None
    node = _value(text, path)
    items = node.value if isinstance(node, yaml.SequenceNode) else []
    inside = [n for n, child in enumerate(items) if span.start <= child.start_mark.index < span.stop]
    if len(inside) != 1:
        raise ConflictError(
            f"The marked block of {marker.kind} {marker.name} holds {len(inside)} items of {'.'.join(path)}, not one",
            remedy="Move what is yours out of the block, or remove the block by hand, then run again.",
        )
    return inside[0]


def _proof_failed(path: KeyPath, marker: Marker, why: str) -> RefusedError:
    return RefusedError(
        f"The block of {marker.kind} {marker.name} cannot be edited in {'.'.join(path)}: {why}",
        remedy="Write that list in plain block style and end the file with a line break; nothing was changed.",
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
