# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Harbor's times, policies as they are compared, and addresses that are refused (D2)."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._harbor import _client, _policy, _run

LIVE: dict[str, t.Any] = {
    "id": 4, "name": "p", "description": "", "dest_registry": {"id": 3, "name": "b"}, "src_registry": {"id": 0},
    "filters": [{"type": "name", "value": "models/**"}], "trigger": {"type": "manual"}, "enabled": True,
    "override": True, "deletion": True, "unknown": 7, "update_time": "x",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-05-01T01:00:00.250Z", 1777597200.25),
        ("2026-05-01T01:00:00Z", 1777597200.0),
        ("0001-01-01T00:00:00.000Z", None),
        ("", None),
        (None, None),
        ("soon", None),
    ],
)
def test_a_time_of_harbor_and_the_one_that_means_never(text: str | None, wanted: float | None) -> None:
    assert _run.seconds(text) == wanted


def test_an_old_release_s_name_of_a_field_and_fields_that_it_lacks() -> None:
    found = _policy.flat(LIVE)
    assert (found["mode"], found["registry"], found["replicate_deletion"]) == ("push", "b", True)
    assert (found["dest_namespace_replace_count"], found["speed"]) == (-1, 0)
    assert found["filters"] == [{"type": "name", "value": "models/**", "decoration": "matches"}]


def test_a_change_sends_the_whole_policy_and_keeps_what_we_do_not_know() -> None:
    after = {**_policy.flat(LIVE), "enabled": False}
    body = _policy._body(LIVE, after)
    assert (body["enabled"], body["unknown"], body["deletion"], body["dest_registry"]) == (False, 7, True, {"id": 3})
    assert {"id", "update_time"} & set(body) == set()
    assert body["src_registry"] is None


def test_an_address_with_api_is_refused() -> None:
    params = {"url": "https://x/api/v2.0", "username": "a", "password": "b", "validate_certs": True, "ca_path": None}
    with pytest.raises(InvalidSpecError, match="without /api"):
        _client.connect(params)
