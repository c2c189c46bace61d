# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marked blocks: whatever the file looks like, nothing outside of the block changes, and removal undoes it (A2)."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.onprem.autoscale.plugins.module_utils._common import _marked_block as mb
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    AutoscaleError,
    ConflictError,
    InvalidSpecError,
    RefusedError,
)

JOBS = ("scrape_configs",)
ROUTES = ("route", "routes")
WEB, API = mb.Marker("job", "web"), mb.Marker("job", "api")
ITEM = {"job_name": "web", "scrape_interval": "15s", "file_sd_configs": [{"files": ["/t/web.json"]}]}

comment = st.sampled_from(["", "# a remark", "#", "   # indented remark", "# BEGIN of somebody else", "# END web"])
scalar = st.sampled_from(
    [
        "15s",
        '"quoted # text"',
        "'single'",
        "|\n{indent}      literal\n{indent}      # no comment",
        ">-\n{indent}      folded\n\n{indent}      text",
        "on",
        "0x1f",
        "~",
    ]
)


@st.composite
def entries(draw: st.DrawFn, indent: str) -> str:
    lines = []
    for number in range(draw(st.integers(1, 3))):
        lines += [f"{indent}{draw(comment).strip()}".rstrip()] * draw(st.integers(0, 1))
        lines.append(f"{indent}- job_name: job{number}{draw(st.sampled_from(['', '   # why']))}")
        if draw(st.booleans()):
            lines.append(f"{indent}  value: " + draw(scalar).replace("{indent}", indent))
        if draw(st.booleans()):
            lines.append(f"{indent}  static_configs: [{{targets: ['a:1', \"b:2\"]}}]")
        lines += [""] * draw(st.integers(0, 2))
    return "\n".join(lines)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A prometheus.yml: sections in any order, with or without the list, in several ways of writing it."""
    jobs = draw(
        st.one_of(
            st.just(None),
            st.sampled_from(
                ["scrape_configs:", "scrape_configs: []", "scrape_configs: ~  # none", "scrape_configs: null"]
            ),
            st.sampled_from(["", "  ", "    "]).flatmap(entries).map(lambda text: f"scrape_configs:  # jobs\n{text}"),
        )
    )
    others = ["global:\n  scrape_interval: 1s  # quick", "rule_files:\n- a.yml", "alerting: {alertmanagers: []}"]
    parts = draw(st.permutations([*others[: draw(st.integers(0, 3))], *([jobs] if jobs else [])]))
    head = draw(st.sampled_from(["", "# head\n", "---\n", "# head\n---\n# more\n"]))
    body = ("\n" + draw(st.sampled_from(["", "\n", "# between\n"]))).join(parts)
    text = head + body + draw(st.sampled_from(["", "\n", "\n\n", "\n# tail", "\n# tail\n"]))
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


items = st.fixed_dictionaries(
    {"job_name": st.sampled_from(["web", "api"])},
    optional={
        "scrape_interval": st.sampled_from(["1s", "5m"]),
        "params": st.dictionaries(
            st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8),
            st.lists(st.text(max_size=12).filter(lambda text: "\x00" not in text), max_size=2),
            max_size=2,
        ),
        "honor_labels": st.booleans(),
        "sample_limit": st.integers(0, 9),
        "note": st.sampled_from(
            ["two\nlines", "ends in newline\n", "a: b", "# no comment", "yes", "1e3", " space ", ""]
        ),
    },
)


def meaning(text: str) -> object:
    return yaml.load(text, yaml.BaseLoader)  # noqa: S506 - builds strings, lists and dicts only


@settings(max_examples=300, deadline=None)
@given(documents(), items, items)
def test_put_and_remove_touch_nothing_else(text: str, first: dict[str, object], second: dict[str, object]) -> None:
    """A2: outside of the block the bytes are the same; the list has our item first; removal gives the first text."""
    try:
        one = mb.put_item(text, JOBS, first, WEB)
    except RefusedError:
        # Refusing is allowed only where the end of the file decides about a value, and must be rare.
        assert not text.endswith("\n")
        return
    assert meaning(one)["scrape_configs"][0] == meaning(mb.dump([first]))[0]
    assert mb.remove_item(one, JOBS, WEB) == text
    assert mb.put_item(one, JOBS, first, WEB) == one, "a second time changes nothing"
    kept = [line for line in text.splitlines() if line]
    rest = iter(one.splitlines())
    assert all(any(line == other or other.endswith(f"# was |{line}") for other in rest) for line in kept), "order stays"

    two = mb.put_item(one, JOBS, second, API)
    three = mb.put_item(two, JOBS, second, WEB)  # changed in place
    assert mb.block_item(three, WEB) == meaning(mb.dump([second]))[0]
    assert mb.block_item(three, API) == meaning(mb.dump([second]))[0]
    assert mb.remove_item(mb.remove_item(three, JOBS, API), JOBS, WEB) == text
    assert mb.remove_item(mb.remove_item(three, JOBS, WEB), JOBS, API) == text


def test_refusals_are_rare() -> None:
    """The property above may not be met by refusing: plain files of every kind are edited."""
    for text in (
        "",
        "# only a remark\n",
        "---\n",
        "scrape_configs:\n- job_name: a\n",
        "scrape_configs: []",
        "global: {}\nscrape_configs:\n    - job_name: a",
        "scrape_configs:\n  # first\n  - job_name: a\nrule_files: []\n",
    ):
        edited = mb.put_item(text, JOBS, ITEM, WEB)
        assert meaning(edited)["scrape_configs"][0]["job_name"] == "web"
        assert mb.remove_item(edited, JOBS, WEB) == text


ALERTMANAGER = "route:\n  receiver: people # default\n  group_by: [a]\nreceivers:\n- name: people\n"


def test_nested_list_that_is_missing() -> None:
    """Alertmanager without child routes: the key comes and goes with the only route."""
    marker = mb.Marker("route", "web")
    edited = mb.put_item(ALERTMANAGER, ROUTES, {"receiver": "x", "matchers": ['a="b"']}, marker)
    assert meaning(edited)["route"]["routes"] == [{"receiver": "x", "matchers": ['a="b"']}]
    assert meaning(edited)["route"]["receiver"] == "people"
    assert mb.remove_item(edited, ROUTES, marker) == ALERTMANAGER


def test_items_of_others_under_our_section_stay() -> None:
    """Somebody who adds a job below the key that we wrote keeps key and job."""
    edited = mb.put_item("global: {}\n", JOBS, ITEM, WEB) + "  - job_name: theirs\n"
    left = mb.remove_item(edited, JOBS, WEB)
    assert meaning(left)["scrape_configs"] == [{"job_name": "theirs"}]


@pytest.mark.parametrize(
    "text",
    [
        "scrape_configs: [{job_name: a}]\n",
        "{scrape_configs: [], global: {}}\n",
        "base: &jobs\n- job_name: a\nscrape_configs: *jobs\n",
        "scrape_configs:\n- job_name: a\n...\n---\nb: 1\n",
        "scrape_configs: text\n",
        "scrape_configs:\n  a: b\n",
        "- not\n- a mapping\n",
        "key: [unclosed\n",
        "scrape_configs:\n- job_name: a\nscrape_configs:\n- job_name: b\n",
    ],
)
def test_what_cannot_be_edited_safely_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        mb.put_item(text, JOBS, ITEM, WEB)
    assert caught.value.remedy


@pytest.mark.parametrize("damage", ["# BEGIN onprem.autoscale job web\n", "# END onprem.autoscale job web\n"])
def test_damaged_marks_are_never_guessed_at(damage: str) -> None:
    text = mb.put_item("scrape_configs:\n- job_name: a\n", JOBS, ITEM, WEB)
    for broken in (text.replace(damage, ""), text + damage):
        with pytest.raises(ConflictError, match="by hand"):
            mb.remove_item(broken, JOBS, WEB)
        with pytest.raises(ConflictError):
            mb.put_item(broken, JOBS, {"job_name": "other"}, WEB)


def test_somebody_put_an_item_into_our_block() -> None:
    text = mb.put_item("scrape_configs:\n- job_name: a\n", JOBS, ITEM, WEB)
    theirs = text.replace("# END onprem", "- job_name: theirs\n# END onprem")
    for edit in (lambda: mb.remove_item(theirs, JOBS, WEB), lambda: mb.put_item(theirs, JOBS, {"job_name": "b"}, WEB)):
        with pytest.raises(ConflictError, match="2 items"):
            edit()


def test_names_do_not_run_into_each_other() -> None:
    """``web`` is not the beginning of ``web-2``."""
    text = mb.put_item("", JOBS, {"job_name": "web-2"}, mb.Marker("job", "web-2"))
    assert mb.block_text(text, WEB) == ""
    assert mb.remove_item(text, JOBS, WEB) == text


@pytest.mark.parametrize("name", ["", "a\nb", " a", "a  b"])
def test_names_that_would_break_the_marks(name: str) -> None:
    with pytest.raises(InvalidSpecError):
        mb.Marker("job", name)


def test_with_list_makes_a_copy_for_checking() -> None:
    for text in (
        "scrape_config_files:\n- a/*.yml\nglobal: {}\n",
        "global: {}\nscrape_config_files:\n    - a/*.yml\n    - b\n",
        "scrape_config_files: [a]\n",
        "x: 1\nscrape_config_files: [a]",
    ):
        assert meaning(mb.with_list(text, "scrape_config_files", ["/p/q.tmp"]))["scrape_config_files"] == ["/p/q.tmp"]
    assert mb.with_list("a: b\n", "scrape_config_files", ["x"]) == "a: b\n"


def test_parse_names_the_file() -> None:
    with pytest.raises(AutoscaleError, match=r"/etc/p\.yml"):
        mb.parse("a: [", "/etc/p.yml")
    with pytest.raises(AutoscaleError, match=r"/etc/p\.yml"):
        mb.parse("- a", "/etc/p.yml")
    assert mb.parse("", "x") == {}
