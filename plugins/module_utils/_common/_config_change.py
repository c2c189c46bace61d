# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A change of one or several configuration files of a running server: checked by the server's own tool before, loaded
and verified after, put back when it is not taken. Beside each file that is being changed lies a journal with its last
good content, from before the first write until after the verification; a run that was killed in between is finished, or
undone, by the next one.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

from . import _atomic_file
from ._errors import AutoscaleError, NotFoundError, RefusedError, WaitTimeoutError
from ._waiter import Waiter

CHECK_TIMEOUT_S = 60
_SECRET_LINE = re.compile(
    r"^(?P<key>[ \t]*(?:-[ \t]+)*['\"]?[\w-]*"
    r"(?:password|credentials|token|secret|_key|api_url|webhook_url)['\"]?:[ \t]+)\S.*$",
    re.MULTILINE | re.IGNORECASE,
)
_URL_SECRET = re.compile(r"(?P<scheme>https?://)[^/\s:@'\"]+:[^/\s@'\"]+@")


class ManagedFile:
    """One file of a change.

    ``before`` is the last good content (``None``: no file), ``after`` what it shall be, ``disk`` what stands there now;
    ``disk`` differs from ``before`` only when a run was killed between writing and verifying.
    """

    def __init__(self, path: Path, *, like: Path | None = None) -> None:
        self.path = path
        self.like = like
        self.journal = path.with_name(f".{path.name}.last-good")
        self.disk = _atomic_file.read_bytes(path)
        self.before, self.pending = self._last_good()
        self.after = self.before

    @property
    def changed(self) -> bool:
        """Whether the wanted content differs from the last good one."""
        return self.after != self.before

    @property
    def dirty(self) -> bool:
        """Whether there is something to write or at least to load."""
        return self.pending or self.after != self.disk

    def text(self, *, default: str | None = None) -> str:
        """The last good content as text. :raises NotFoundError: there is no file and no *default*."""
        if self.before is None:
            if default is None:
                raise NotFoundError(f"{self.path} does not exist", remedy="Check the path on the host this runs on.")
            return default
        try:
            return self.before.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RefusedError(f"{self.path} is not UTF-8 text: {error.reason} at byte {error.start}") from error

    def put(self, content: bytes | None) -> None:
        """Write, replace or remove."""
        if content is None:
            _atomic_file.remove(self.path)
        elif content != _atomic_file.read_bytes(self.path):
            _atomic_file.write_atomic(self.path, content, like=self.like)

    def remember(self) -> None:
        """Write the journal."""
        entry = {
            "last_good": None if self.before is None else base64.b64encode(self.before).decode("ascii"),
            "wanted": _digest(self.after),
        }
        _atomic_file.write_atomic(self.journal, json.dumps(entry).encode("ascii"), like=self.path)
        with contextlib.suppress(OSError):
            self.journal.chmod(0o600)

    def forget(self) -> None:
        """Remove the journal."""
        _atomic_file.remove(self.journal)

    def _last_good(self) -> tuple[bytes | None, bool]:
        """Content to fall back to, and whether an unfinished change left a journal that still fits the file.

        Whoever edited the file by hand since then has the last word: such a journal counts for nothing.
        """
        raw = _atomic_file.read_bytes(self.journal)
        if raw is None:
            return self.disk, False
        try:
            entry = json.loads(raw)
            kept = entry["last_good"]
            last_good = None if kept is None else base64.b64decode(kept)
            fits = _digest(self.disk) == entry["wanted"] or self.disk == last_good
        except (ValueError, KeyError, TypeError):
            return self.disk, True
        return (last_good if fits else self.disk), True


def converge(
    files: t.Sequence[ManagedFile],
    *,
    reload: t.Callable[[], None],
    loaded: t.Callable[[], bool],
    what: str,
    waiter: t.Callable[[], Waiter] | None,
    remedy: t.Callable[[], str] = str,
    check_mode: bool = False,
) -> bool:
    """Bring files and server to what is wanted, or both back to what they were.

    :param reload: tells the server to read its files; raises :class:`AutoscaleError` when it refuses.
    :param loaded: asks the server whether it works with what the files say. Asked first of all, so that a server that
        is down is found before any file is touched.
    :param what: the change in words, for errors.
    :param waiter: a new deadline for *loaded* to become true after a reload; ``None`` to believe the reload.
    :param remedy: what to advise when *loaded* stays false.
    :returns: whether anything was (in check mode: would be) written or loaded.
    :raises AutoscaleError: of the kind that was raised, saying that the old files are back.
    """
    touched = [entry for entry in files if entry.dirty]
    up_to_date = loaded()
    if not touched and (up_to_date or waiter is None):
        return False
    if check_mode:
        return True

    def load() -> None:
        reload()
        if waiter is not None and not _wait(loaded, waiter()):
            raise WaitTimeoutError("the server read its files but does not work with them", remedy=remedy())

    if touched:
        _install(touched, load, reload, what)
    else:
        try:
            load()
        except AutoscaleError as error:
            error.message = f"{what} stands in the files but is not in use: {error.message}"
            raise
    return True


def _wait(loaded: t.Callable[[], bool], waiter: Waiter) -> bool:
    while not loaded():
        if not waiter.pause():
            return False
    return True


def _install(
    touched: t.Sequence[ManagedFile], load: t.Callable[[], None], reload: t.Callable[[], None], what: str
) -> None:
    for entry in touched:
        entry.remember()
    try:
        for entry in touched:
            entry.put(entry.after)
        load()
    except AutoscaleError as error:
        for entry in reversed(touched):
            entry.put(entry.before)
        aftermath = "The files are as they were before and are loaded again"
        try:
            reload()
        except AutoscaleError as second:
            # Nobody knows what the server runs with: the journals stay, so that the next run loads the files.
            aftermath = f"The files are as they were before, but loading them again failed too: {second.message}"
        else:
            _forget(touched)
        error.message = f"{what} was not taken: {error.message.rstrip('.')}. {aftermath}"
        raise
    _forget(touched)


def check(
    tool: str, arguments: t.Sequence[str], *, shown: t.Mapping[str, str], remedy: str = "", package: str = ""
) -> None:
    """Run promtool or amtool over a file that is not installed yet.

    :param shown: paths of temporary files and what stands for them in the error.
    :raises RefusedError: the tool refused the file; its words are in the message.
    :raises NotFoundError: there is no such tool, and without it nothing is installed.
    """
    found = shutil.which(tool)
    if not found:
        raise NotFoundError(
            f"{tool} was not found, and a file that was not checked is never installed",
            remedy=f"Install it (it comes with {package}) on the host where the module runs, or give its path.",
        )
    try:
        # There is no AnsibleModule on this floor.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            [found, *arguments], capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusedError(f"{found} could not check the file: {error}") from error
    if done.returncode == 0:
        return
    words = f"{done.stdout}\n{done.stderr}"
    for temporary, name in shown.items():
        words = words.replace(temporary, name).replace(Path(temporary).name, Path(name).name)
    raise RefusedError(
        f"{Path(tool).name} refuses the file, so it was not installed: {' '.join(words.split())[:1500]}",
        remedy=remedy,
    )


@contextlib.contextmanager
def candidate(path: Path, content: bytes, *, like: Path | None = None) -> t.Iterator[Path]:
    """A temporary copy beside *path* (relative paths in it stay true) for the time of a check."""
    temporary = _atomic_file.write_temporary(path, content, like=like)
    try:
        yield temporary
    finally:
        _atomic_file.remove(temporary)


def diff_entry(header: str, before: str, after: str) -> dict[str, str]:
    """One entry of a module's ``diff``, secrets masked; only our own part of a file is ever shown."""
    return {
        "before_header": header,
        "after_header": header,
        "before": redact(before),
        "after": redact(after),
    }


def redact(text: str) -> str:
    """Mask the values of keys that hold secrets, and passwords in addresses."""
    return _URL_SECRET.sub(r"\g<scheme>***@", _SECRET_LINE.sub(r"\g<key>***", text))


def _forget(files: t.Iterable[ManagedFile]) -> None:
    for entry in files:
        entry.forget()


def _digest(content: bytes | None) -> str:
    return "absent" if content is None else hashlib.sha256(content).hexdigest()
