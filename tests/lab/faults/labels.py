# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call is called: a name that is the same in every run, whatever the objects' names and ids are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

SOAP_CALL = re.compile(rb"<(?:\w+:)?Body[^>]*>\s*<(?:\w+:)?([A-Za-z_]\w*)")
PROPERTY_TYPE = re.compile(rb"<propSet[^>]*>.*?<type[^>]*>(\w+)</type>", re.DOTALL)
FEW_KINDS = 3  # a read of more kinds of objects than these looks for places
SOAP_READS = ("Retrieve", "Query", "Find", "Fetch", "CurrentTime")
#: Ids that differ from session to session, in requests that ask the same: views and the cookie of a session.
VIEW_ID = re.compile(rb'(<obj[^>]*type="ContainerView"[^>]*>)[^<]*')
TRANSACTION_HEADER = "x-f5-rest-coordination-id"
STANDING = re.compile(rb'"(session|state)":\s*"(user-\w+)"')
#: Path elements after which a name or an id follows.
COLLECTIONS = {"transaction": "id", "tokens": "token"}
WRITES = ("INSERT ", "UPDATE ", "DELETE ")
SQL = re.compile(r"(?:INSERT INTO|DELETE FROM|UPDATE|SELECT.*?\bFROM)\s+\"?(\w+)", re.IGNORECASE | re.DOTALL)


def label_of(kind: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> str:
    """The label of an HTTP call.

    :param kind: ``soap``, ``icontrol`` or ``path``.
    :param headers: names in lower case.
    """
    if kind == "soap":
        return _soap(method, target, body)
    if kind == "icontrol":
        return _icontrol(method, target, headers, body)
    return f"{method} {urlsplit(target).path}"


def _soap(method: str, target: str, body: bytes) -> str:
    """The method's name; a property read also says of what: ``RetrievePropertiesEx Task``."""
    found = SOAP_CALL.search(body)
    if found is None:
        return f"{method} {urlsplit(target).path}"
    name = found.group(1).decode()
    if name.startswith("RetrieveProperties"):
        kinds = sorted({kind.decode() for kind in PROPERTY_TYPE.findall(body)})
        name = f"{name} {'+'.join(kinds) if len(kinds) <= FEW_KINDS else 'inventory'}".rstrip()
    return name


def _icontrol(method: str, target: str, headers: Mapping[str, str], body: bytes) -> str:
    """``PATCH /mgmt/tm/ltm/pool/{name}/members/{name} (user-disabled user-up, in a transaction)``."""
    parts: list[str] = []
    for part in urlsplit(target).path.rstrip("/").split("/"):
        before = parts[-1] if parts else ""
        if unquote(part).startswith("~"):
            parts.append("{name}")
        elif part and before in COLLECTIONS:
            parts.append("{" + COLLECTIONS[before] + "}")
        else:
            parts.append(part)
    said = [" ".join(value.decode() for _field, value in STANDING.findall(body))] if method == "PATCH" else []
    if TRANSACTION_HEADER in headers:
        said.append("in a transaction")
    said = [text for text in said if text]
    return f"{method} {'/'.join(parts)}" + (f" ({', '.join(said)})" if said else "")


def is_read(label: str) -> bool:
    """Whether a call of this label changes nothing, so that an older answer could be given to it."""
    return label.startswith(("GET ", "HEAD ", "SELECT", *SOAP_READS))


def same_question(method: str, target: str, body: bytes) -> bytes:
    """What two calls have in common that ask the same; an older answer fits only then."""
    return f"{method} {target}\n".encode() + VIEW_ID.sub(rb"\1*", body)


class PostgresLabels:
    """Labels of what a PostgreSQL client sends: verb and table, like ``INSERT leases``.

    A commit is called by what it makes last: ``COMMIT (INSERT actions, UPDATE locks)``. One a connection, as a prepared
    statement is sent once and then only named.
    """

    def __init__(self) -> None:
        self._prepared: dict[bytes, str] = {}
        self._written: dict[str, None] = {}  # in this transaction, in order

    def label(self, data: bytes) -> str:
        """The label of one piece of the stream; pieces without SQL are called ``message``."""
        label = self._said(data)
        for part in label.split(", "):
            if part in ("BEGIN", "ROLLBACK"):
                self._written.clear()
            elif part.startswith(WRITES):
                self._written[part] = None
        if label == "COMMIT" and self._written:
            label = f"COMMIT ({', '.join(self._written)})"
            self._written.clear()
        return label

    def _said(self, data: bytes) -> str:
        if data[:1] == b"\0":
            return "startup"
        said: list[str] = []
        at = 0
        while at + 5 <= len(data):
            kind, size = data[at : at + 1], int.from_bytes(data[at + 1 : at + 5], "big")
            payload = data[at + 5 : at + 1 + size]
            if kind == b"Q":
                said.append(_verb(payload.rstrip(b"\0")))
            elif kind == b"P":
                name, _sep, rest = payload.partition(b"\0")
                self._prepared[name] = _verb(rest.partition(b"\0")[0])
                said.append(self._prepared[name])
            elif kind == b"B":
                known = self._prepared.get(payload.partition(b"\0")[2].partition(b"\0")[0])
                if known and known not in said:
                    said.append(known)
            at += 1 + max(size, 4)
        return ", ".join(dict.fromkeys(said)) or "message"


def _verb(sql: bytes) -> str:
    text = sql.decode(errors="replace").strip()
    verb = text.partition(" ")[0].upper() or "message"
    found = SQL.search(text)
    return f"{verb} {found.group(1)}" if found else verb
