# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of a file that a person wrote."""

from __future__ import annotations

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._yaml_lines import load_with_lines


def test_each_field_has_the_line_of_its_key() -> None:
    data, lines = load_with_lines(
        "---\nname: shop\nservices:\n  - name: web\n    needs:\n      - database\n  - {name: b}\n"
    )
    assert data["services"][1] == {"name": "b"}
    assert lines["name"] == 2
    assert lines["services"] == 3
    assert lines["services[0].needs"] == 5
    assert lines["services[0].needs[0]"] == 6
    assert lines["services[1].name"] == 7


def test_an_empty_file_is_nothing() -> None:
    assert load_with_lines("# nothing yet\n") == (None, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nb: [1, 2\n", "shop.yml:3: this is no YAML"),
        ("name: a\nrto: 1\nname: b\n", "shop.yml:3: the key 'name' stands in line 1, too"),
        ("a: 1\n---\nb: 2\n", "shop.yml:2: this is no YAML"),
        ("name: !vault x\n", "shop.yml:1: this is no YAML"),
        ("a: &x\n  b: *x\n", "shop.yml:1: an alias holds itself"),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        load_with_lines(text, origin="shop.yml")
    assert words in str(caught.value)
