# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a launch that failed (invariant 8), and how findings are shown."""

from __future__ import annotations

from ansible_collections.onprem.autoscale.plugins.filter.launch_failures import launch_failures
from ansible_collections.onprem.autoscale.plugins.filter.reconcile_lines import reconcile_lines
from ansible_collections.onprem.autoscale.plugins.filter.status_lines import status_lines

VMS = [{"name": "web-a", "address": "10.0.0.1"}, {"name": "web-b", "address": "10.0.0.2"}]
CLONED = {
    "vms": [
        {"name": "web-a", "moid": "vm-1", "failed": False},
        {"name": "web-b", "moid": "", "failed": True, "msg": "no space"},
    ]
}


def test_a_vm_is_named_once_with_the_first_reason():
    gated = {"members": [{"name": "web-a", "failed": True, "msg": "does not answer"}]}
    joined = {"members": [{"name": "web-a", "failed": True, "msg": "never reached"}]}
    assert launch_failures(VMS, [CLONED, gated, joined]) == [
        {"name": "web-a", "address": "10.0.0.1", "reason": "does not answer", "made": True},
        {"name": "web-b", "address": "10.0.0.2", "reason": "no space", "made": False},
    ]


def test_a_target_is_known_by_its_address():
    targets = {"targets": [{"address": "10.0.0.1:9100", "failed": True, "msg": "down"}]}
    assert [row["name"] for row in launch_failures(VMS[:1], [targets])] == ["web-a"]


def test_the_rows_of_a_call_that_failed_as_a_whole_count():
    failed = {"failed": True, "msg": "2 of 2 VMs were not made", "failed_vms": CLONED["vms"][1:]}
    assert [row["name"] for row in launch_failures(VMS, [{}, failed])] == ["web-b"]


def test_a_backend_that_is_down_is_no_failure_of_a_vm():
    assert (
        launch_failures(VMS, [{"vms": [{"name": "web-a", "failed": False}]}, {"failed": True, "msg": "refused"}]) == []
    )


def test_findings_stand_in_columns():
    finding = {"kind": "vm_unknown", "name": "web-a", "address": "10.0.0.1", "repair": "adopt", "message": "it is ours"}
    lines = reconcile_lines(
        [
            {
                "group": "web",
                "findings": [finding, {**finding, "kind": "unread", "name": ""}],
                "leaked": {"vms": 1, "leases": 0},
            },
            {"group": "db", "findings": [], "leaked": {}, "carried_on": "db-3: succeeded, scale_out"},
            {"group": "api", "findings": [], "leaked": {}, "error": "api: busy"},
        ]
    )
    assert lines == [
        "web: 2 findings; leaked: 1 vms",
        "  vm_unknown  web-a  10.0.0.1  adopt  it is ours",
        "  unread      -      10.0.0.1  adopt  it is ours",
        "db: nothing found; 0 leaked; carried on db-3: succeeded, scale_out",
        "api: FAILED api: busy",
    ]


def test_status_says_what_holds_a_group_back():
    """Issue: the breaker's state is visible in status; so are suspended processes and leaks."""
    group = {
        "name": "web",
        "members": [],
        "events": [],
        "breaker": {
            "state": "open",
            "failures": [{"at": 1.0, "member": "web-a", "reason": "does not boot"}],
            "opened_at": 1.0,
            "probe_at": 9.0,
        },
        "suspended": [{"process": "launch", "since": 1.0, "by": "op", "reason": "rebuild"}],
        "reconciled": {"at": 5.0, "findings": [{}], "leaked": {"vms": 2, "leases": 0}},
    }
    text = "\n".join(status_lines(group))
    for part in (
        "breaker open",
        "1 launches failed",
        "does not boot",
        "suspended launch",
        "by op: rebuild",
        "1 findings, 2 vms leaked",
    ):
        assert part in text


def test_status_says_which_site_may_act():
    """D6: and which stores say otherwise, or nothing."""
    group = {"name": "web", "members": [], "events": [], "spec": {"recovery": {"scope": "shop"}}}
    assert "no stores of its epoch are declared" in status_lines(group)[1]
    stores = [
        {"name": "a", "reached": True, "epoch": 1, "holder": "a", "msg": ""},
        {"name": "b", "reached": True, "epoch": 2, "holder": "b", "msg": ""},
        {"name": "witness", "reached": False, "epoch": 0, "holder": "", "msg": "the cable is cut"},
    ]
    seen = {"scope": "shop", "site": "a", "may_act": False, "epoch": 2, "holder": "b", "alone": True}
    lines = status_lines(group, [{**seen, "reason": "held by b", "stores": stores}])
    assert lines[1:] == [
        "  scope shop: epoch 2, holder b, alone; site a may not act: held by b",
        "    store a            epoch 1 a",
        "    store witness      the cable is cut",
    ]
    assert status_lines(group, [{**seen, "may_act": True, "stores": []}])[1].endswith("site a may act")
