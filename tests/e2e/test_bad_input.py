# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input at the playbook: one clear error that names the thing and the remedy, and nothing changed."""

from __future__ import annotations

import socket

import pytest


def refused(site, run, *words: str) -> None:
    """The run failed, said all of *words*, and left no lock behind."""
    assert run.rc != 0, run.output
    for word in words:
        assert word in run.output, f"{word!r} is missing from:\n{run.output}"
    assert "Traceback" not in run.output
    assert site.snapshot()["locks"] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": {"min": 5, "max": 4}}, ("size.min", "5", "4")),
        ({"network": {"start": "10.9.9.1", "end": "10.9.9.9"}}, ("network.start", "10.9.9.1", ".0/24")),
        ({"policies": [{"type": "forecast"}]}, ("forecast", "reserved")),
    ],
)
def test_a_wrong_spec(site, changes, words):
    """A1: the field, the value and what is allowed."""
    before = site.snapshot()
    site.write_group(changes)
    refused(site, site.playbook("scale_out", ignore_cooldown=True), *words)
    assert site.snapshot() == before


def test_an_unknown_group(site):
    refused(site, site.playbook("scale_out", group="wbe", ignore_cooldown=True), "wbe", "web")


def test_no_group_at_all(site):
    refused(site, site.playbook("scale_out", group=None), "-e group=")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vm": {"template": "no-such-template"}}, ("no-such-template",)),
        ({"load_balancer": {"pool": "no-such-pool"}}, ("no-such-pool",)),
        ({"network": {"name": "no-such-network"}}, ("no-such-network",)),
    ],
)
def test_a_thing_that_does_not_exist(site, changes, words):
    before = site.snapshot()
    site.write_group(changes)
    refused(site, site.playbook("scale_out", ignore_cooldown=True), *words)
    assert site.snapshot() == before


def test_a_full_address_pool(site):
    """A8: an address that answers is never given out, so two members find one address: refused, and people are told."""
    first, last = f"{site.settings.subnet}.220", f"{site.settings.subnet}.221"
    site.write_group({"network": {"start": first, "end": last}})
    before = site.snapshot()
    with socket.create_server((last, 9100)):
        run = site.playbook("scale_out", count=2, ignore_cooldown=True)
    refused(site, run, f"{first}-{last}", "1 free, 2 needed", last, "network.end")
    assert site.snapshot() == before
    assert "AutoscaleAddressPoolEmpty" in site.get(site.description["alertmanager"]["url"] + "/api/v2/alerts")
    (event,) = site.ledger("select * from events order by id desc limit 1")
    assert (event["code"], event["result"]) == ("no_address", "failed")


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("autoscale_vsphere", {"hostname": "127.0.0.1", "port": 9, "username": "u", "password": "p"}, "127.0.0.1"),
        ("autoscale_f5", {"hostname": "127.0.0.1", "port": 9, "username": "u", "password": "p"}, "127.0.0.1:9"),
    ],
)
def test_a_backend_that_is_down(site, variable, value, word):
    before = site.snapshot()
    refused(site, site.playbook("scale_out", ignore_cooldown=True, **{variable: value}), word)
    assert site.snapshot() == before


def test_a_group_that_was_never_configured(site):
    """A5: without its job nobody can be counted; the remedy is named."""
    before = site.snapshot()
    site.write_group({"monitoring": {"job": "nobody"}})
    run = site.playbook("scale_out", ignore_cooldown=True)
    refused(site, run, "has no job nobody", "onprem.autoscale.configure -e group=web")
    assert site.snapshot() == before


def test_prometheus_is_down(site):
    before = site.snapshot()
    prometheus = {**site.description["prometheus"], "url": "http://127.0.0.1:9"}
    refused(site, site.playbook("scale_out", ignore_cooldown=True, autoscale_prometheus=prometheus), "127.0.0.1:9")
    assert site.snapshot() == before


def test_wrong_vcenter_password(site):
    before = site.snapshot()
    vsphere = {
        "hostname": "127.0.0.1",
        "port": site.description["vcenter"]["port"],
        "username": site.description["vcenter"]["username"],
        "password": "wrong",
        "ca_path": site.description["vcenter"]["ca_path"],
    }
    refused(
        site, site.playbook("scale_out", ignore_cooldown=True, autoscale_vsphere=vsphere), "autoscale@vsphere.local"
    )
    assert site.snapshot() == before


def test_expired_sessions_do_not_matter_between_actions(site):
    """Every session of vCenter ends; the next action logs in and works."""
    site.control("vcenter", "POST", "/sessions/expire")
    run = site.playbook("scale_in", ignore_cooldown=True)
    assert run.rc == 0, run.output
