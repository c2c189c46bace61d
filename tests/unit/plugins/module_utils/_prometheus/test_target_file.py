# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of a target file: everybody else's targets stay (A6, A7)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError, RefusedError
from ansible_collections.onprem.autoscale.plugins.module_utils._prometheus import _target_file as tf

hosts = st.sampled_from([f"10.0.0.{n}:9100" for n in range(1, 7)])
label_sets = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2"]), max_size=2)


@st.composite
def files(draw: st.DrawFn) -> tf.Groups:
    free = draw(st.lists(hosts, unique=True))
    groups = []
    while free:
        size = draw(st.integers(1, len(free)))
        groups.append({"targets": free[:size], "labels": draw(label_sets)})
        free = free[size:]
    return groups


@given(files(), st.dictionaries(hosts, label_sets))
def test_put_and_take_out(groups: tf.Groups, rows: dict[str, dict[str, str]]) -> None:
    """What was asked for is there as asked; the rest is as it was; a second time changes nothing."""
    before = tf.addresses(groups)
    after = tf.put(groups, rows)
    assert tf.addresses(after) == {**before, **rows}
    assert sum(len(group["targets"]) for group in after) == len({**before, **rows}), "nobody is there twice"
    assert tf.put(after, rows) == after
    assert tf.addresses(tf.take_out(after, set(rows))) == {a: v for a, v in before.items() if a not in rows}
    assert tf.parse(tf.render(after), "x") == after


def test_fields_of_others_stay() -> None:
    groups = tf.parse(b'[{"targets": ["a:1", "b:1"], "labels": {"x": "1"}, "note": "theirs"}]', "x")
    assert tf.take_out(groups, {"b:1"}) == [{"targets": ["a:1"], "labels": {"x": "1"}, "note": "theirs"}]


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"null", b"[]"])
def test_an_empty_file_has_no_groups(content: bytes | None) -> None:
    assert tf.parse(content, "x") == []


@pytest.mark.parametrize(
    "content", [b"{", b"{}", b'["a:1"]', b'[{"targets": "a:1"}]', b'[{"targets": [1]}]', b'[{"labels": {}}]']
)
def test_a_file_that_is_none_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(RefusedError, match=r"/t/web\.json"):
        tf.parse(content, "/t/web.json")


def test_wanted_makes_strings_and_lets_the_row_win() -> None:
    rows = [{"address": "h:1", "labels": {"base": True, "n": 3, "x": None}}, {"address": "[::1]:9100"}]
    assert tf.wanted(rows, {"base": False, "group": "web"}) == {
        "h:1": {"base": "true", "group": "web", "n": "3", "x": ""},
        "[::1]:9100": {"base": "false", "group": "web"},
    }


@pytest.mark.parametrize(
    "address", ["", "h", "http://h:1", "h:0", "h:65536", "h:1/metrics", "a b:1", "::1:9100", "h:x"]
)
def test_bad_addresses(address: str) -> None:
    with pytest.raises(InvalidSpecError, match="host:port"):
        tf.wanted([{"address": address}], {})


def test_all_faults_at_once() -> None:
    rows = [{"address": "bad"}, {"address": "h:1", "labels": {"a-b": 1}}, {"address": "h:1"}]
    with pytest.raises(InvalidSpecError) as caught:
        tf.wanted(rows, {})
    for word in ("bad", "a-b", "twice"):
        assert word in str(caught.value)


def test_rendered_for_people_too() -> None:
    text = tf.render([{"targets": ["a:1"], "labels": {"name": "Größe"}}]).decode()
    assert json.loads(text)
    assert "Größe" in text
    assert text.endswith("]\n")
