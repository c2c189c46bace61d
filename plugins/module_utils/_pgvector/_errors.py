# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What PostgreSQL and libpq say, as the family of errors of this collection: which server, the cause, the remedy.
"""

from __future__ import annotations

from .._common._errors import (
    AuthenticationError,
    AutoscaleError,
    BackendDownError,
    ConflictError,
    InvalidSpecError,
    NotFoundError,
    RefusedError,
    WaitTimeoutError,
)

_Kind = type[AutoscaleError]
_GONE = (
    "Check that PostgreSQL runs, can be reached from here, and that DSM does not block its connections "
    "(block_connections); then run again"
)
_RIGHT = "Give the role that right, or run as the owner of the object or of the database"

#: By SQLSTATE, the longest prefix first.
_BY_STATE: tuple[tuple[str, _Kind, str], ...] = (
    ("28", AuthenticationError, "Check username and password (password, passfile, PGPASSFILE) and pg_hba.conf"),
    ("TLS", AuthenticationError,
     "Give the CA that signed the server's certificate as ca_path, and as host a name that the certificate has"),
    ("0A000", RefusedError, "Choose what this version of PostgreSQL and pgvector has; an index on a partitioned table "
     "needs concurrently false"),
    ("3D000", NotFoundError, "Create the database first, or check the option database"),
    ("3F000", NotFoundError, "Create the schema first"),
    ("42P01", NotFoundError, "Create the table first with pgvector_table"),
    ("42P06", ConflictError, "Choose another name"),
    ("42P07", ConflictError, "Choose another name, or remove what has it"),
    ("42501", RefusedError, _RIGHT),
    ("42704", NotFoundError, "Check the name, and that the extension is there (pgvector_extension)"),
    ("42601", InvalidSpecError, "Check types and defaults of the columns: they go to PostgreSQL as they are"),
    ("22023", InvalidSpecError, "Check the values given"),
    ("22", InvalidSpecError, "Check the values given"),
    ("23502", ConflictError, "Give the column a default, or let it be null"),
    ("23", ConflictError, "Correct the rows, then run again"),
    ("25006", RefusedError, "This is a standby or a read-only session: point host and port to the primary"),
    ("2BP01", ConflictError, "Remove what depends on it first, or say cascade where the module has it"),
    ("40", ConflictError, "Run again: nothing of this transaction was stored"),
    ("53100", RefusedError, "Free or add space (storage_space of the cluster, or another tablespace), then run again"),
    ("53200", BackendDownError, "Lower maintenance_work_mem or the load of the server, then run again"),
    ("53300", BackendDownError, "Raise max_connections of the server, or close connections; then run again"),
    ("53", BackendDownError, "The server is short of resources; see its log, then run again"),
    ("54", InvalidSpecError, "This is over a limit of PostgreSQL or pgvector; halfvec takes half the room of vector"),
    ("55P03", ConflictError, "Look in pg_stat_activity for a long or idle transaction that holds it; then run again"),
    ("55", ConflictError, "Run again when nobody uses the object"),
    ("57014", WaitTimeoutError, "Raise statement_timeout, or see why the server is slow"),
    ("57P03", BackendDownError, "The server starts, stops or recovers; run again in a moment"),
    ("57P", BackendDownError, _GONE),
    ("08", BackendDownError, _GONE),
    ("XX", BackendDownError, "The server's data are damaged or it has an internal fault: see its log"),
    ("58", BackendDownError, "The server cannot use its files: see its log"),
)  # fmt: skip

# What comes while connecting has no SQLSTATE. Order matters: the first one whose words are there.
_BY_TEXT: tuple[tuple[tuple[str, ...], str], ...] = (
    (("password authentication failed",), "28"),
    (("no password supplied",), "28"),
    (("authentication failed",), "28"),
    (("pg_hba.conf",), "28"),
    (("role", "does not exist"), "28"),
    (("certificate",), "TLS"),
    (("does not support ssl",), "TLS"),
    (("ssl error",), "TLS"),
    (("database", "does not exist"), "3D000"),
    (("permission denied",), "42501"),
    (("too many",), "53300"),
    (("remaining connection slots",), "53300"),
    (("starting up",), "57P03"),
    (("shutting down",), "57P03"),
    (("recovery mode",), "57P03"),
    (("not accepting connections",), "57P03"),
    (("not yet accepting",), "57P03"),
    (("no space left",), "53100"),
)


def translate(error: BaseException, server: str, what: str = "") -> AutoscaleError:
    """The error of this collection for one of psycopg.

    :param server: ``host:port/database``.
    :param what: what was tried, as a verb: ``build index x``; connecting without it.
    """
    state = sqlstate(error)
    cause = _cause(error)
    kind, remedy = next(
        ((kind, remedy) for prefix, kind, remedy in _BY_STATE if state.startswith(prefix)),
        (BackendDownError, _GONE) if not state else (RefusedError, "See the server's log"),
    )
    hint = getattr(getattr(error, "diag", None), "message_hint", None)
    return kind(
        f"cannot {what or 'connect'} on {server}: {cause}" if what else f"cannot connect to {server}: {cause}",
        remedy=f"{remedy}. The server says: {hint}" if hint else remedy,
    )


def sqlstate(error: BaseException) -> str:
    """The error's SQLSTATE; what comes while connecting is known by its words. Empty: nothing is known."""
    text = str(error).lower()
    return getattr(error, "sqlstate", None) or next(
        (state for words, state in _BY_TEXT if all(word in text for word in words)), ""
    )


def _cause(error: BaseException) -> str:
    """One line. A list of values (DETAIL) is left out: it shows rows."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    if primary:
        return str(primary)
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    tried = [line.rpartition("failed: ")[2] for line in lines if line.startswith("- host:")]
    last = lines[0].rpartition("failed: ")[2] or lines[0]
    # "root certificate file ... does not exist" and its like say the rest on the next line
    return "; ".join(dict.fromkeys(tried))[:400] or last
