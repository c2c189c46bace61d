# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

libpq's password file: one line a server and user, ours before those of others, readable by its owner only.
"""

from __future__ import annotations

import typing as t

from .._common import _atomic_file
from .._common._errors import RefusedError

MODE = 0o600


class Entry(t.NamedTuple):
    """One line."""

    host: str
    port: int
    database: str
    username: str
    password: str

    def line(self) -> str:
        """As libpq reads it."""
        return ":".join(escape(str(field)) for field in self)


def escape(text: str) -> str:
    """A field: a colon and a backslash get a backslash."""
    if "\n" in text or "\r" in text or "\0" in text:
        raise RefusedError("A password file cannot hold a line break", remedy="Give the user another password.")
    return text.replace("\\", "\\\\").replace(":", "\\:")


def write(path: str, entries: t.Sequence[Entry], *, check: bool) -> tuple[str, bool]:
    """Merge the lines in; the real path, and whether the file is (in check mode: would be) another one.

    Lines of other servers and users stay. Ours come first, as libpq takes the first that fits.
    """
    real = _atomic_file.resolve(path)
    if check:
        return str(real), _merged(_atomic_file.read_bytes(real), entries) is not None or not _private(real)
    with _atomic_file.locked(real):
        new = _merged(_atomic_file.read_bytes(real), entries)
        if new is None and _private(real):
            return str(real), False
        content = new if new is not None else _atomic_file.read_bytes(real) or b""
        _atomic_file.write_atomic(real, content, mode=MODE)
    return str(real), True


def _merged(old: bytes | None, entries: t.Sequence[Entry]) -> bytes | None:
    """The new content; None when the file has it already."""
    text = (old or b"").decode("utf-8", "surrogateescape")
    lines = text.splitlines()
    wanted = [entry.line() for entry in entries]
    ours = {tuple(escape(str(field)) for field in (entry.host, entry.port, entry.username)) for entry in entries}
    kept = [line for line in lines if _server_and_user(line) not in ours]
    if old is not None and set(wanted) <= set(lines) and len(lines) == len(wanted) + len(kept):
        return None
    return ("\n".join([*wanted, *kept]) + "\n").encode("utf-8", "surrogateescape")


def _server_and_user(line: str) -> tuple[str, ...]:
    """Host, port and user of a line, as escaped; empty for a comment or something else."""
    if line.lstrip().startswith("#"):
        return ()
    fields, field, position = [], "", 0
    while position < len(line):
        if line[position] == "\\" and position + 1 < len(line):
            field += line[position : position + 2]
            position += 2
            continue
        if line[position] == ":" and len(fields) < 4:
            fields.append(field)
            field = ""
        else:
            field += line[position]
        position += 1
    fields.append(field)
    return (fields[0], fields[1], fields[3]) if len(fields) == 5 else ()


def _private(path: t.Any) -> bool:
    try:
        return path.stat().st_mode & 0o777 == MODE
    except OSError:
        return False
