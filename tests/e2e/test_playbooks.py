# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks by hand, against the whole lab (A2, A6, A7, A9; invariants 3, 4, 5)."""

from __future__ import annotations

import re
from pathlib import Path

from e2e.conftest import launched


def tasks_in(output: str) -> int:
    return len(re.findall(r"^TASK \[", output, flags=re.MULTILINE))


def test_scale_out_check_mode_prints_the_plan_and_changes_nothing(site):
    before = site.snapshot()
    run = site.playbook("scale_out", "--check", ignore_cooldown=True)
    assert run.rc == 0, run.output
    assert "2 to 3 members" in run.output
    assert site.snapshot() == before


def test_scale_out_then_in_leaves_what_was_there(site):
    """A6, A7, A9: the new member serves, is registered, leased and recorded; scale-in takes all of it back."""
    before = site.snapshot()
    run = site.playbook("scale_out", ignore_cooldown=True)
    assert run.rc == 0, run.output
    (name,) = launched(site)
    assert re.fullmatch(r"web-\d{14}", name)
    address = site.vms()[name]["ip"]
    assert "ok" in site.get(f"http://{address}:8080/health").lower()
    member = site.members()[address]
    assert (member["session"], member["availability"]) == ("monitor-enabled", "available")
    assert f"{address}:9100" in site.targets()
    assert site.ledger("select address, member from leases") == [{"address": address, "member": name}]
    assert site.vms()[name]["marks"]["group"] == "web"

    run = site.playbook("scale_in", ignore_cooldown=True)
    assert run.rc == 0, run.output
    assert site.snapshot() == before
    out, back = site.ledger("select * from events order by id desc limit 2")[::-1]
    assert (out["code"], out["count_before"], out["count_after"]) == ("scale_out", 2, 3)
    assert (back["code"], back["count_before"], back["count_after"]) == ("scale_in", 3, 2)


def test_a_cooldown_refuses_and_changes_nothing(site):
    """A4: the direction rests after an action; the refusal is a normal end."""
    site.write_group({"cooldown": {"out": 600}})
    assert site.playbook("scale_out", ignore_cooldown=True).rc == 0
    before = site.snapshot()
    run = site.playbook("scale_out")
    assert run.rc == 0, run.output
    assert "cooldown" in run.output
    assert site.snapshot() == before


def test_the_minimum_is_checked_before_anything_is_drained(site):
    """A4, invariant 2: at the minimum scale-in refuses, and no base member is touched."""
    before = site.members()
    run = site.playbook("scale_in", ignore_cooldown=True)
    assert run.rc == 0, run.output
    assert "at_min" in run.output
    assert {address: row["session"] for address, row in site.members().items()} == {
        address: row["session"] for address, row in before.items()
    }


def test_a_failed_member_is_undone_and_the_others_stay(site):
    """One of two never boots: it is removed with its lease; the other serves, and the event says partial."""
    site.write_group({"timeouts": {"address": 6, "customization": 6}, "quarantine": {"keep": 0}})
    site.control("vcenter", "POST", "/faults", {"mode": "no_boot", "count": 1})
    run = site.playbook("scale_out", count=2, ignore_cooldown=True)
    assert run.rc == 0, run.output
    assert len(launched(site)) == 1
    assert len(set(site.members()) - site.base) == 1
    assert len(site.ledger("select address from leases")) == 1
    (event,) = site.ledger("select * from events order by id desc limit 1")
    assert (event["code"], event["result"], event["count_after"]) == ("partial", "succeeded", 3)


def test_when_all_members_fail_the_action_fails_and_nothing_is_left(site):
    """Invariant 5: a member whose health says 500 never joins; exit status and event say so."""
    before = site.snapshot()
    site.write_group({"timeouts": {"gate": 4}, "quarantine": {"keep": 0}})
    site.control("vcenter", "POST", "/faults", {"mode": "unhealthy", "count": 1})
    run = site.playbook("scale_out", ignore_cooldown=True)
    assert run.rc != 0
    assert "500" in run.output
    assert site.snapshot() == before
    (event,) = site.ledger("select * from events order by id desc limit 1")
    assert event["result"] == "failed"


def test_the_number_of_tasks_does_not_depend_on_the_number_of_vms(site, monkeypatch):
    """Design §2: a loop over VMs in a playbook is a defect."""
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "ansible.builtin.default")
    monkeypatch.setenv("ANSIBLE_DISPLAY_SKIPPED_HOSTS", "false")
    one = site.playbook("scale_out", count=1, ignore_cooldown=True)
    back_one = site.playbook("scale_in", count=1, ignore_cooldown=True)
    two = site.playbook("scale_out", count=2, ignore_cooldown=True)
    back_two = site.playbook("scale_in", count=2, ignore_cooldown=True)
    assert [run.rc for run in (one, back_one, two, back_two)] == [0, 0, 0, 0]
    assert tasks_in(one.output) == tasks_in(two.output) > 10
    assert tasks_in(back_one.output) == tasks_in(back_two.output) > 10


def test_no_secret_in_output_or_ledger(site, monkeypatch):
    """A15: not even at -vvv, where the default callback prints every module's arguments."""
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "ansible.builtin.default")
    monkeypatch.setenv("ANSIBLE_INJECT_INVOCATION", "true")  # core 2.20 and later want to be asked
    secrets = [
        Path(site.description[name][key]).read_text().strip()
        for name, key in (("vcenter", "password_file"), ("bigip", "password_file"), ("receiver", "token_file"))
    ]
    assert all(len(secret) > 10 for secret in secrets)
    runs = [site.playbook(name, "-vvv", ignore_cooldown=True) for name in ("configure", "scale_out", "scale_in")]
    for run in runs:
        assert run.rc == 0, run.output
        assert '"module_args"' in run.output
    stored = b"".join(path.read_bytes() for path in site.ledger_file.parent.iterdir())
    for secret in secrets:
        assert not any(secret in run.output for run in runs)
        assert secret.encode() not in stored


def test_status_shows_the_group(site):
    run = site.playbook("status")
    assert run.rc == 0, run.output
    assert "web" in run.output
    assert "scale_in" in run.output


def test_an_unreachable_prometheus_host_refuses_before_anything_is_made(site, tmp_path):
    """Targets are written on another host; when it cannot be reached the action ends, and frees its lock."""
    before = site.snapshot()
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "all: {hosts: {localhost: }, children: {elsewhere: {hosts: {nowhere: {ansible_connection: ssh,"
        " ansible_host: 127.0.46.254, ansible_port: 9}}}}}\n"
    )
    run = site.playbook("scale_out", "-i", str(inventory), ignore_cooldown=True, prometheus_host="nowhere")
    assert run.rc != 0
    assert "nowhere" in run.output
    assert site.snapshot() == before
    (event,) = site.ledger("select * from events order by id desc limit 1")
    assert event["result"] == "failed"
