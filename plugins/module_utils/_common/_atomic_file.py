# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Files that another program reads while we write them: a reader sees the whole old or the whole new content, whatever
crashes in between, and two writers never work on one file at the same time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
import typing as t
from pathlib import Path

from ._errors import AutoscaleError, ConflictError, NotFoundError, RefusedError, WaitTimeoutError
from ._waiter import Waiter

DEFAULT_MODE = 0o644


def resolve(path: str | os.PathLike[str]) -> Path:
    """The absolute path behind symbolic links, so that a link is never replaced by a file.

    :raises RefusedError: the links run in a circle, or the path is a folder.
    """
    try:
        real = Path(path).expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise RefusedError(f"{path} cannot be resolved: {error}") from error
    if real.is_dir():
        raise RefusedError(f"{path} is a folder", remedy="Give the path of a file.")
    return real


def read_bytes(path: Path) -> bytes | None:
    """The content, or ``None`` when there is no such file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused("read", path, error) from error


def write_atomic(path: Path, content: bytes, *, like: Path | None = None, mode: int | None = None) -> None:
    """Replace *path* as a whole: temporary file beside it, fsync, rename, fsync of the folder.

    Mode and owner stay those of the old file; a new file takes them from *like*, else it is 0644 and ours.

    :param mode: the mode in any case, for what others must not read.
    """
    temporary = write_temporary(path, content, like=like, mode=mode)
    try:
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _refused("replace", path, error) from error
    sync_folder(path.parent)


def write_temporary(path: Path, content: bytes, *, like: Path | None = None, mode: int | None = None) -> Path:
    """A finished, synced file beside *path* that only needs to be renamed (or checked and removed)."""
    model = _status(path) or (_status(like) if like else None)
    try:
        descriptor, name = tempfile.mkstemp(prefix=_temporary_prefix(path), suffix=".tmp", dir=path.parent)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: its folder does not exist", remedy=f"Create {path.parent} first.") from error
    except OSError as error:
        raise _refused("write beside", path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            _keep_owner(stream.fileno(), path, model)
            kept = stat.S_IMODE(model.st_mode) if model else DEFAULT_MODE
            os.fchmod(stream.fileno(), kept if mode is None else mode)
            os.fsync(stream.fileno())
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise _refused("write", path, error) from error
        raise
    return temporary


def remove(path: Path) -> bool:
    """Remove the file; ``False`` when there was none."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _refused("remove", path, error) from error
    sync_folder(path.parent)
    return True


@contextlib.contextmanager
def locked(path: Path, *, timeout: float = 60.0, interval: float = 0.05) -> t.Iterator[None]:
    """Hold the lock of *path* (``<path>.lock``); waits up to *timeout* seconds for whoever has it.

    The kernel drops the lock with its process, so a crash never leaves it set. The lock file itself is removed while
    the lock is still held; a waiter that then finds its own file gone opens the new one. Leftovers of writers that
    were killed are swept away, for nobody else can be writing now.
    """
    lock = path.with_name(f"{path.name}.lock")
    waiter = Waiter(timeout, interval)
    try:
        descriptor = waiter.until(
            lambda: _try_lock(lock),
            lambda found: found is not None,
            f"Getting the lock {lock}",
            remedy="Another run is changing this file; try again when it has ended.",
        )
    except WaitTimeoutError as error:
        raise ConflictError(error.message, remedy=error.remedy) from error
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: its folder does not exist", remedy=f"Create {path.parent} first.") from error
    except OSError as error:
        raise _refused("lock", path, error) from error
    try:
        _sweep(path)
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(descriptor)


def _try_lock(lock: Path) -> int | None:
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == os.stat(lock).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _temporary_prefix(path: Path) -> str:
    return f".{path.name}."


def _sweep(path: Path) -> None:
    """Remove temporary files that a killed writer left."""
    prefix = _temporary_prefix(path)
    with contextlib.suppress(OSError):
        for entry in os.scandir(path.parent):
            if entry.name.startswith(prefix) and entry.name.endswith(".tmp"):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _keep_owner(descriptor: int, path: Path, model: os.stat_result | None) -> None:
    """Give the new file the old owner; without the right to do so at least the group, or readable by everybody."""
    now = os.fstat(descriptor)
    if model is None or (now.st_uid, now.st_gid) == (model.st_uid, model.st_gid):
        return
    for owner in (model.st_uid, -1):
        try:
            os.fchown(descriptor, owner, model.st_gid)
            return
        except PermissionError:
            continue
    if not model.st_mode & stat.S_IROTH:
        raise RefusedError(
            f"{path} belongs to user {model.st_uid}, group {model.st_gid}; user {os.geteuid()} may not keep it so",
            remedy="Run as the owner, as root, or as a member of that group; else the server could no longer read it.",
        )


def sync_folder(folder: Path) -> None:
    """Make a rename or a removal survive a power cut; not every file system can, and then there is nothing to do."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refused(verb: str, path: Path, error: OSError) -> AutoscaleError:
    reason = error.strerror or str(error)
    remedy = ""
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = f"User {os.geteuid()} needs write access to the folder {path.parent} and read access to the file."
    elif error.errno == errno.EBUSY:
        remedy = "The file itself is a mount point and cannot be replaced as a whole; mount its folder instead."
    elif error.errno == errno.EROFS:
        remedy = "The file system is mounted read-only."
    elif error.errno == errno.ENOSPC:
        remedy = "Free some space."
    return RefusedError(f"Cannot {verb} {path}: {reason}", remedy=remedy)
