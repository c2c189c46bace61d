# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vsphere_template`` against the lab's vCenter; a template is safe from ``vsphere_clone`` (A13)."""

from __future__ import annotations

from integration import vcenter_kit as kit
from integration.vcenter_kit import Site

from lab.vcenter_kit import VCenter

vcenter, site = kit.vcenter, kit.site


def test_template_from_a_prepared_vm(site: Site, vcenter: VCenter) -> None:
    """A13: created (check), created, again, replaced, deleted (check), deleted, again; usable for a clone."""
    want = {"name": "web-v2", "source": "DC0/vm/web-golden"}
    planned = site.template(check=True, **want)
    assert planned["changed"]
    assert "web-v2" not in vcenter.vms()
    made = site.template(**want)
    assert made["changed"], made
    assert made["template"]["is_template"]
    assert made["template"]["marks"] == {"kind": "template", "source": "web-golden"}
    assert vcenter.vms()["web-v2"]["template"]
    assert not vcenter.vms()["web-golden"]["template"], "the prepared VM was touched"
    for check in (True, False):
        again = site.template(check=check, **want)
        assert not again["changed"]
        assert again["template"]["moid"] == made["template"]["moid"]

    clone = site.clone(site.args(1, template="web-v2"))
    assert not clone["failed"], clone
    assert not {"kind", "source"} & set(clone["vms"][0]["marks"]), "marks were inherited"
    assert clone["vms"][0]["template"] == "web-v2"

    replaced = site.template(**want, replace=True)
    assert replaced["changed"]
    assert replaced["template"]["name"] == "web-v2"
    assert replaced["template"]["moid"] != made["template"]["moid"]
    assert "web-v2.new" not in vcenter.vms()

    gone = {"name": "web-v2", "state": "absent"}
    assert site.template(check=True, **gone)["changed"]
    assert "web-v2" in vcenter.vms()
    assert site.template(**gone)["changed"]
    assert "web-v2" not in vcenter.vms()
    assert not site.template(**gone)["changed"]


def test_template_refuses_what_would_hurt(site: Site, vcenter: VCenter) -> None:
    """A running source, a VM that has the name, a template of somebody else: refused, with the way out."""
    site.clone(site.args(1))
    running = site.template(name="web-v3", source="web-1")
    assert running["failed"]
    assert "is poweredOn" in running["msg"]
    assert "force=true" in running["msg"]
    forced = site.template(name="web-v3", source="web-1", force=True)
    assert forced["changed"], forced
    assert forced["template"]["marks"] == {"kind": "template", "source": "web-1"}, "marks of a group on a template"
    assert [row["name"] for row in site.info(marks={"group": "web"})] == ["web-1"]
    taken = site.template(name="web-1", source="web-golden")
    assert "is taken by a virtual machine" in taken["msg"]
    foreign = site.template(name="web-template", state="absent")
    assert "was not made by this collection" in foreign["msg"]
    vm = site.template(name="web-1", state="absent", force=True)
    assert "is a virtual machine and no template" in vm["msg"]
    assert {"web-1", "web-template"} <= set(vcenter.vms())
    missing = site.template(name="web-v4", source="web-goldn")
    assert "source 'web-goldn'" in missing["msg"]
    assert "Similar names: web-golden" in missing["msg"]


def test_absent_never_deletes_a_template(site: Site, vcenter: VCenter) -> None:
    result = site.clone({"state": "absent", "marks": {"group": "web"}, "vms": [{"name": "web-template"}]})
    assert result["failed"]
    assert "is a template and is not deleted" in result["msg"]
    assert "web-template" in vcenter.vms()
