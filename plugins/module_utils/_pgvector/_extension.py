# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The extension ``vector``: installed, updated, moved, removed.
"""

from __future__ import annotations

import typing as t

from .._common._errors import NotFoundError, RefusedError
from ._catalog import Extension, read_extension
from ._connection import Session
from ._driver import sql


def plan(
    session: Session, found: Extension, *, state: str, version: str | None, schema: str | None, cascade: bool
) -> list[tuple[t.Any, str]]:
    """Commands that lead there, each with what it is for. :raises AutoscaleError: there is no way."""
    where = session.server.name
    if state == "absent":
        if found.version is None:
            return []
        end = " CASCADE" if cascade else ""
        return [(sql.SQL("DROP EXTENSION vector" + end), f"remove extension vector {found.version}")]
    if found.available is None:
        raise NotFoundError(
            f"the server of {where} has no extension vector",
            remedy="Install pgvector on the server, or choose a version of DSM's PostgreSQL that brings it",
        )
    wanted = version or (found.available if state == "latest" else None)
    commands: list[tuple[t.Any, str]] = []
    if found.version is None:
        _check_version(session, wanted)
        command = sql.SQL("CREATE EXTENSION vector")
        if schema:
            command += sql.SQL(" SCHEMA {}").format(sql.Identifier(schema))
        if wanted:
            command += sql.SQL(" VERSION {}").format(sql.Literal(wanted))
        return [(command, f"install extension vector {wanted or found.available}")]
    if wanted and wanted != found.version:
        _check_path(session, found.version, wanted)
        command = sql.SQL("ALTER EXTENSION vector UPDATE TO {}").format(sql.Literal(wanted))
        commands.append((command, f"update extension vector from {found.version} to {wanted}"))
    if schema and schema != found.schema:
        command = sql.SQL("ALTER EXTENSION vector SET SCHEMA {}").format(sql.Identifier(schema))
        commands.append((command, f"move extension vector from schema {found.schema} to {schema}"))
    return commands


def predicted(found: Extension, *, state: str, version: str | None, schema: str | None) -> Extension:
    """What it will be, for check mode."""
    if state == "absent":
        return Extension(None, found.available, None)
    wanted = version or (found.available if state == "latest" or found.version is None else found.version)
    return Extension(wanted, found.available, schema or found.schema or "public")


def apply(session: Session, commands: t.Sequence[tuple[t.Any, str]]) -> Extension:
    """Do it in one transaction, and read again."""
    with session.transaction():
        for command, what in commands:
            session.run(command, what)
    return read_extension(session)


def _check_version(session: Session, wanted: str | None) -> None:
    rows = session.rows("SELECT version FROM pg_available_extension_versions WHERE name = 'vector' ORDER BY version")
    known = [row["version"] for row in rows]
    if wanted and wanted not in known:
        raise NotFoundError(
            f"the server of {session.server.name} has no version {wanted} of the extension vector",
            remedy=f"It has {', '.join(known)}",
        )


def _check_path(session: Session, old: str, new: str) -> None:
    rows = session.rows(
        "SELECT target FROM pg_extension_update_paths('vector') WHERE source = %s AND path IS NOT NULL", [old]
    )
    targets = sorted(row["target"] for row in rows)
    if new not in targets:
        raise RefusedError(
            f"extension vector {old} in {session.server.name} cannot become {new}",
            remedy=f"From {old} it can become {', '.join(targets)}" if targets else "An extension does not go back",
        )
