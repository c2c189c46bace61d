# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The files of runs: ``<plan>-<run>.journal.json`` while a run is not finished, then ``<plan>-<run>.json`` and ``.html``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import typing as t
from pathlib import Path

from .._common._atomic_file import locked, read_bytes, remove, write_atomic
from .._common._errors import ConflictError, RefusedError

_JOURNAL = ".journal.json"
_RUN = r"[0-9]{14}(?:-[0-9]+)?"


class Files:
    """The files of one plan in one folder."""

    def __init__(self, folder: str | os.PathLike[str], plan: str) -> None:
        self.folder = Path(folder).expanduser()
        self.plan = plan

    def journal_path(self, run: str) -> Path:
        """Where the journal of *run* is."""
        return self.folder / f"{self.plan}-{run}{_JOURNAL}"

    def report_path(self, run: str, kind: str = "json") -> Path:
        """Where its report is."""
        return self.folder / f"{self.plan}-{run}.{kind}"

    @contextlib.contextmanager
    def alone(self) -> t.Iterator[None]:
        """Nobody else changes the plan's files meanwhile; what killed writers left is swept away."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RefusedError(f"Cannot make the folder {self.folder}: {error.strerror or error}") from error
        with locked(self.folder / self.plan):
            left = re.compile(rf"\.{re.escape(self.plan)}-{_RUN}\.(?:journal\.json|json|html)\..*\.tmp")
            for entry in self.folder.iterdir():
                if left.fullmatch(entry.name):
                    entry.unlink(missing_ok=True)
            yield

    def journals(self) -> list[dict[str, t.Any]]:
        """Runs that are not finished, oldest first."""
        return [self._load(path) for path in self._matching(_JOURNAL)]

    def reports(self) -> list[dict[str, t.Any]]:
        """Reports, oldest first."""
        return [self._load(path) for path in self._matching(".json")]

    def journal(self, run: str) -> dict[str, t.Any] | None:
        """The journal of one run."""
        path = self.journal_path(run)
        return self._load(path) if path.exists() else None

    def report(self, run: str) -> dict[str, t.Any] | None:
        """The report of one run."""
        path = self.report_path(run)
        return self._load(path) if path.exists() else None

    def free_name(self, now: float) -> str:
        """A name for a run that begins now, which no run has."""
        base = time.strftime("%Y%m%d%H%M%S", time.gmtime(now))
        name, number = base, 1
        while any(path.exists() for path in (self.journal_path(name), self.report_path(name))):
            number += 1
            name = f"{base}-{number}"
        return name

    def keep(self, run: t.Mapping[str, t.Any]) -> None:
        """Write the journal of *run*; it is on disk when this returns."""
        write_atomic(self.journal_path(run["run"]), _text(run))

    def finish(self, report: t.Mapping[str, t.Any], page: str) -> None:
        """Write the report of a run, and only then drop its journal."""
        self.rewrite(report, page)
        remove(self.journal_path(report["run"]))

    def rewrite(self, report: t.Mapping[str, t.Any], page: str) -> None:
        """Write the report of a run; the page first, so that a report always has one."""
        write_atomic(self.report_path(report["run"], "html"), page.encode("utf-8"))
        write_atomic(self.report_path(report["run"]), _text(report))

    def _matching(self, ending: str) -> list[Path]:
        names = re.compile(rf"{re.escape(self.plan)}-({_RUN}){re.escape(ending)}")
        found = []
        with contextlib.suppress(FileNotFoundError):
            for entry in self.folder.iterdir():
                match = names.fullmatch(entry.name)
                if match:
                    base, _dash, number = match[1].partition("-")
                    found.append(((base, int(number or 1)), entry))
        return [entry for _key, entry in sorted(found)]

    def _load(self, path: Path) -> dict[str, t.Any]:
        content = read_bytes(path)
        try:
            data = json.loads(content or b"")
            if not isinstance(data, dict) or not isinstance(data["steps"], list):
                raise ValueError("it holds something else")
            return data
        except (ValueError, KeyError) as error:
            raise ConflictError(
                f"{path} is no journal or report of a recovery run: {error!r}",
                remedy="Somebody changed it; put back a copy, or move it away and look at both sites yourself first.",
            ) from error


def _text(data: t.Mapping[str, t.Any]) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode("utf-8")
