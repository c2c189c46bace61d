# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of PAIS as files and back: nothing of one site only, no secret, the same bytes (D2)."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._pais import _files, _kinds
from ansible_collections.onprem.autoscale.plugins.module_utils._pais._kinds import Reference, Secret

AGENT = ("agents", "", "helper")
INDEX = ("indexes", "docs", "main")


def portable(row: dict[str, t.Any], ignored: tuple[str, ...] = ()) -> dict[str, t.Any]:
    return _kinds.portable(row, AGENT, {"i-1": INDEX}, ignored)


@pytest.mark.parametrize(
    "field",
    ["password", "client_secret", "auth_token", "api_key", "apikey", "X-Api-Key", "Authorization", "credentials"],
)
def test_a_field_of_such_a_name_is_secret_wherever_it_stands(field: str) -> None:
    found = portable({"a": {"b": [{field: "s3cret"}]}})
    assert list(_kinds.leaves(found, Secret)) == [Secret(f"agents/helper/a/b/0/{field}")]


@pytest.mark.parametrize("field", ["max_tokens", "token_url", "session_max_length", "secret_name", "keyboard"])
def test_a_field_of_another_name_is_none(field: str) -> None:
    assert portable({field: "x"}) == {field: "x"}


def test_of_credentials_only_who_logs_in_is_told() -> None:
    found = portable({"credentials": {"type": "basic", "username": "u", "key": "k", "pin": 12, "on": True}})
    assert found["credentials"]["username"] == "u"
    assert {one.name.rpartition("/")[2] for one in _kinds.leaves(found, Secret)} == {"key", "pin"}


def test_an_address_with_a_password_is_secret() -> None:
    assert portable({"origin_url": "https://u:p@x/y"}) == {"origin_url": Secret("agents/helper/origin_url")}
    assert portable({"origin_url": "https://x:8443/y@z"}) == {"origin_url": "https://x:8443/y@z"}


def test_what_the_server_adds_goes_and_ids_become_references() -> None:
    row = {
        "id": "1",
        "created_at": 5,
        "indexed_at": 6,
        "status": "READY",
        "region": "a",
        "name": "x",
        "index_id": "i-1",
    }
    assert portable(row, ("region",)) == {"name": "x", "index_id": Reference(INDEX)}
    assert portable({"text": "i-1", "index_id": "unknown"}) == {"text": "i-1", "index_id": "unknown"}


def test_a_file_says_the_same_again() -> None:
    value = {
        "name": "helper", "index_id": Reference(INDEX), "auth_token": Secret("agents/helper/auth_token"),
        "tools": [{"tool_id": Reference(("mcp-tools", "web", "search"))}], "instructions": "one\ntwo\n",
        "index_top_n": None, "umlaut": "Größe", "number": "0123", "yes": "yes",
    }  # fmt: skip
    text = _files.to_text(AGENT, value)
    assert _files.from_text(text, "agents", "x.yml") == (AGENT, value)
    assert text == _files.to_text(AGENT, dict(reversed(value.items())))
    assert "instructions: |\n  one\n  two\n" in text
    assert _files.from_text(_files.to_text(INDEX, {"name": "main"}), "indexes", "x.yml") == (INDEX, {"name": "main"})


@pytest.mark.parametrize("name", ["..", "../../etc/x", ".hidden", "a/b", "a\nb"])
def test_no_name_leaves_the_folder(name: str) -> None:
    for key in (("agents", "", name), ("indexes", name, name)):
        parts = _files.file_of(key).split("/")
        assert len(parts) == (2 if key[0] == "agents" else 3)
        assert not any(part.startswith(".") for part in parts)


@pytest.mark.parametrize("text", ["", "[]", "name: 1", "name: ''", "name: x\nindex_id: {reference: {kind: indexes}}"])
def test_what_is_no_object_is_refused_with_its_file(text: str) -> None:
    with pytest.raises(InvalidSpecError, match=r"agents/x\.yml"):
        _files.from_text(text, "agents", "agents/x.yml")


def test_nothing_and_empty_are_the_same_and_files_say_only_what_they_name() -> None:
    assert _kinds.differing({"a": None, "b": [], "c": 1}, {"c": 1, "d": 2}) == {}
    assert _kinds.differing({"a": None}, {"a": "x"}) == {"a": None}
    assert _kinds.differing({"a": False}, {"a": None}) == {"a": False}
