# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of calls are the same in every run, and say whether a call only reads."""

from __future__ import annotations

import pytest

from lab.faults.labels import PostgresLabels, is_read, label_of, same_question

ENVELOPE = '<soapenv:Envelope xmlns:soapenv="x"><soapenv:Body>%s</soapenv:Body></soapenv:Envelope>'
VIEW = '<RetrievePropertiesEx xmlns="urn:vim25"><specSet>%s<obj type="ContainerView">session[52%s]</obj></specSet>'


def soap(body: str) -> bytes:
    return (ENVELOPE % body).encode()


def kinds(*names: str) -> str:
    return "".join(f"<propSet><type>{name}</type><pathSet>name</pathSet></propSet>" for name in names)


@pytest.mark.parametrize(
    ("body", "label", "read"),
    [
        (
            '<CloneVM_Task xmlns="urn:vim25"><_this type="VirtualMachine">vm-1</_this></CloneVM_Task>',
            "CloneVM_Task",
            False,
        ),
        ('<Login xmlns="urn:vim25"/>', "Login", False),
        ("<RetrieveServiceContent/>", "RetrieveServiceContent", True),
        (VIEW % (kinds("VirtualMachine", "HostSystem"), "a"), "RetrievePropertiesEx HostSystem+VirtualMachine", True),
        (VIEW % (kinds("A", "B", "C", "D"), "a"), "RetrievePropertiesEx inventory", True),
        ("<WaitForUpdatesEx/>", "WaitForUpdatesEx", False),
    ],
)
def test_soap(body: str, label: str, read: bool) -> None:
    assert label_of("soap", "POST", "/sdk", {}, soap(body)) == label
    assert is_read(label) is read


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "label"),
    [
        (
            "GET",
            "/mgmt/tm/ltm/pool/~Common~web-pool?expandSubcollections=true",
            {},
            b"",
            "GET /mgmt/tm/ltm/pool/{name}",
        ),
        (
            "PATCH",
            "/mgmt/tm/ltm/pool/~Common~p/members/~Common~10.0.0.1:80",
            {"x-f5-rest-coordination-id": "17"},
            b'{"session": "user-disabled", "state": "user-up"}',
            "PATCH /mgmt/tm/ltm/pool/{name}/members/{name} (user-disabled user-up, in a transaction)",
        ),
        ("PATCH", "/mgmt/tm/transaction/1699", {}, b'{"state": "VALIDATING"}', "PATCH /mgmt/tm/transaction/{id}"),
        ("POST", "/mgmt/tm/transaction/", {}, b"{}", "POST /mgmt/tm/transaction"),
        ("DELETE", "/mgmt/shared/authz/tokens/ABC", {}, b"", "DELETE /mgmt/shared/authz/tokens/{token}"),
    ],
)
def test_icontrol(method: str, target: str, headers: dict[str, str], body: bytes, label: str) -> None:
    assert label_of("icontrol", method, target, headers, body) == label


def test_plain_paths_and_pages() -> None:
    assert label_of("path", "GET", "/api/v1/targets?state=active", {}, b"") == "GET /api/v1/targets"
    assert label_of("soap", "GET", "/sdk/vimServiceVersions.xml", {}, b"") == "GET /sdk/vimServiceVersions.xml"


def test_the_same_question_through_another_view_is_the_same() -> None:
    """Views get a new id in each session; without this no read of the inventory could ever be stale."""
    first, second, other = (
        soap(VIEW % (kinds(kind), ident)) for kind, ident in (("Host", "a"), ("Host", "b"), ("Datastore", "a"))
    )
    assert same_question("POST", "/sdk", first) == same_question("POST", "/sdk", second)
    assert same_question("POST", "/sdk", first) != same_question("POST", "/sdk", other)


def message(kind: bytes, payload: bytes) -> bytes:
    return kind + (len(payload) + 4).to_bytes(4, "big") + payload


def test_postgresql() -> None:
    labels = PostgresLabels()
    assert labels.label(b"\0\0\0\x08\x04\xd2\x16\x2f") == "startup"
    assert labels.label(message(b"Q", b"BEGIN\0")) == "BEGIN"
    insert = message(b"P", b"s1\0INSERT INTO leases (address) VALUES ($1)\0\0\0")
    bind = message(b"B", b"portal\0s1\0\0\0")
    assert labels.label(insert + bind + message(b"S", b"")) == "INSERT leases"
    assert labels.label(bind + message(b"E", b"")) == "INSERT leases", "a prepared statement keeps its label"
    assert labels.label(message(b"S", b"")) == "message"
    assert labels.label(message(b"Q", b"UPDATE locks SET expires_at = 1\0")) == "UPDATE locks"
    assert labels.label(message(b"Q", b"COMMIT\0")) == "COMMIT (INSERT leases, UPDATE locks)"
    assert labels.label(message(b"Q", b"COMMIT\0")) == "COMMIT", "of a transaction that only read"
    select = b"SELECT locks.owner, locks.action \nFROM locks WHERE x\0"
    assert labels.label(message(b"Q", select)) == "SELECT locks"
    assert is_read("SELECT locks")
    assert not is_read("COMMIT")
