# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of each site's database that tries to write there all the while, whoever the primary is.

Each acknowledged row goes into a journal with its times, before the next one is sent. What a site refuses, or does not
answer, is no row: a standby that takes writes would be seen, and a commit that is lost, too.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg

from ..process import LabError
from .outside import Commit, read_commits

QUERY = "INSERT INTO docs (id, title, embedding) VALUES (%s, %s, '[1,0,0,0,0,0,0,1]')"
PAUSE_S = 0.05
# What psycopg.connect takes; OSError or LabError while it cannot be known: a dead site, a store that is not there yet.
Login = Callable[[], Mapping[str, Any]]
NOT_REPLICATED = "canceling wait for synchronous replication"


class SiteWriter(threading.Thread):
    """The rows of one site."""

    def __init__(self, site: str, login: Login, journal: Path, first: int) -> None:
        super().__init__(name=f"writer-{site}", daemon=True)
        self.site = site
        self.login = login
        self.refusals: dict[str, int] = {}
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._next = first
        self._ending = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                with psycopg.connect(connect_timeout=2, autocommit=True, **self.login()) as connection:
                    self._connection = connection
                    self._write(connection)
            except (psycopg.Error, OSError, LabError) as error:
                # Dead, a standby, blocked, or its table is being restored: who writes here all the while asks again.
                words = (str(error).splitlines() or [""])[0][:160]
                self.refusals[words] = self.refusals.get(words, 0) + 1
                self._ending.wait(0.1)

    def _write(self, connection: psycopg.Connection[Any]) -> None:
        notices: list[str] = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        while not self._ending.is_set():
            row, self._next = self._next, self._next + 1
            sent = time.time()
            connection.execute(QUERY, (row, f"written at {self.site}"))
            if not any(NOT_REPLICATED in notice for notice in notices):
                line = json.dumps([self.site, row, sent, time.time()])
                os.write(self._journal, line.encode() + b"\n")
            notices.clear()
            self._ending.wait(PAUSE_S)

    def stop(self) -> None:
        """End, even within a commit that waits for a standby that never answers."""
        self._ending.set()
        connection = self._connection
        if connection is not None:
            # Not cancel(): a cancelled wait for the standby is a commit, and would be answered as one.
            with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)
        self.join(timeout=30)
        if self.is_alive():
            raise LabError(f"the writer of site {self.site} does not end")
        os.close(self._journal)


class Checker:
    """A writer at each site; ``with Checker({"a": site_login(...), "b": ...}, folder) as checker``.

    :param first: ids begin there, so that several checkers may use one table.
    """

    def __init__(self, logins: Mapping[str, Login], folder: Path, *, first: int = 1) -> None:
        self.journal = folder / "commits.jsonl"
        self.writers = {
            site: SiteWriter(site, login, self.journal, first + number * 10_000_000)
            for number, (site, login) in enumerate(logins.items())
        }

    def __enter__(self) -> Checker:
        for writer in self.writers.values():
            writer.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        for writer in self.writers.values():
            writer.stop()

    def commits(self) -> list[Commit]:
        """All that were acknowledged until now."""
        return read_commits(self.journal)

    def wait_more(self, site: str, count: int, timeout: float = 30.0) -> None:
        """Until the site has acknowledged *count* more rows."""
        began, deadline = time.time(), time.monotonic() + timeout
        while sum(1 for row in self.commits() if row.site == site and row.sent >= began) < count:
            if time.monotonic() > deadline:
                said = self.writers[site].refusals
                raise LabError(f"site {site} does not acknowledge {count} rows within {timeout:g} s; it said: {said}")
            time.sleep(0.05)
