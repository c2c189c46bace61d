# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a BIG-IP names things (facts: IPv6 with a dot before the port, a route domain as ``%25N`` in a path)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._f5 import _names as names


@pytest.mark.parametrize(
    ("partition", "name", "path"),
    [
        ("Common", "web-pool", "~Common~web-pool"),
        ("Common", "127.0.48.220:8080", "~Common~127.0.48.220:8080"),
        ("Common", "fd00::1.8080", "~Common~fd00::1.8080"),
        ("Common", "10.0.0.1%2:80", "~Common~10.0.0.1%252:80"),
        ("Prod", "app.app/pool one", "~Prod~app.app~pool%20one"),
    ],
)
def test_paths(partition: str, name: str, path: str) -> None:
    assert names.object_path(partition, name) == path


@pytest.mark.parametrize(
    ("node", "port", "name"),
    [
        ("10.0.0.1", 80, "10.0.0.1:80"),
        ("fd00::1", 80, "fd00::1.80"),
        ("web1", 443, "web1:443"),
        ("fd00::1%3", 1, "fd00::1%3.1"),
    ],
)
def test_members_are_named_and_read_back(node: str, port: int, name: str) -> None:
    assert names.member_name(node, port) == name
    assert names.split_member_name(name) == (node, port)


def test_a_port_by_name_is_no_port() -> None:
    assert names.split_member_name("10.0.0.1:any") == ("10.0.0.1", 0)


@given(st.ip_addresses(), st.integers(1, 65535), st.sampled_from(["", "%2", "%65534"]))
def test_every_address_survives_the_way_there_and_back(address, port: int, domain: str) -> None:
    name = names.member_name(f"{address}{domain}", port)
    node, read = names.split_member_name(name)
    assert (names.canonical_address(node), read) == (f"{address}{domain}", port)


def test_one_spelling_for_each_address() -> None:
    assert names.canonical_address(" FD00:0:0::0001%2 ") == "fd00::1%2"
    with pytest.raises(InvalidSpecError, match="'web1' is not an IP address"):
        names.canonical_address("web1")


def test_full_names() -> None:
    assert names.split_full_name("/Prod/x") == ("Prod", "x")
    assert names.split_full_name("x", "Here") == ("Here", "x")
    assert names.full_name("Prod", "x") == "/Prod/x"
