# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What the modules of the action group ``vsphere`` do with their parameters: one function a module, one session a call.
"""

from __future__ import annotations

import time
import typing as t

from .._common._errors import AutoscaleError, InvalidSpecError
from ._client import Client, Settings, vim
from ._clone import CloneOrder, CloneRun
from ._clone_spec import Guest, GuestNetwork, Hardware, check_network, check_wanted
from ._delete import DeleteRun
from ._inventory import Inventory, Machine, iso
from ._mark import MarkRun, mark_order
from ._placement import Lookup, Names, resolve
from ._rows import Row, Timeouts, Wanted, machine_address, result_of, summary
from ._tasks import Pace
from ._template import TemplateJob, TemplateOrder

Params = t.Mapping[str, t.Any]


def clone_vms(params: Params, *, check_mode: bool) -> dict[str, t.Any]:
    """``vsphere_clone``.

    :raises AutoscaleError: nothing could be done; or VMs failed, then ``result`` holds all rows.
    """
    wanted, guest = wanted_vms(params)
    client = Client(Settings.from_params(params))
    with client:
        inventory = Inventory(client)
        pace = Pace(params["wait_interval"])
        run: CloneRun | DeleteRun
        if params["state"] == "present":
            order = CloneOrder(
                vms=wanted,
                hardware=Hardware(params["cpus"], params["memory_mb"]),
                guest=guest,
                timeouts=Timeouts(**params["timeouts"]),
                max_in_flight=params["max_in_flight"],
                wait=params["wait"],
            )
            run = CloneRun(inventory, resolve(inventory, _names(params)), order, pace)
        else:
            root = _datacenter(inventory, params["datacenter"])
            timeouts = Timeouts(**params["timeouts"])
            run = DeleteRun(inventory, wanted, timeouts, pace, root=root, wait=params["wait"])
        rows = run.look_first()
        if check_mode:
            for row in rows:
                row.changed = row.changed or (row.phase == "queued" and not row.failed)
        else:
            rows = run.run()
    return _outcome(rows, run.diff(), params, "made" if params["state"] == "present" else "deleted")


def mark_vms(params: Params, *, check_mode: bool) -> dict[str, t.Any]:
    """``vsphere_mark``.

    :raises AutoscaleError: nothing could be done; or VMs failed, then ``result`` holds all rows.
    """
    order = mark_order(params)
    with Client(Settings.from_params(params)) as client:
        inventory = Inventory(client)
        root = _datacenter(inventory, params["datacenter"])
        run = MarkRun(inventory, order, Pace(params["wait_interval"]), root=root)
        rows = run.look_first()
        if check_mode:
            for row in rows:
                row.changed = not row.ended
        else:
            rows = run.run()
    return _outcome(rows, run.diff(), params, "marked")


def _outcome(rows: list[Row], diff: dict[str, t.Any], params: Params, verb: str) -> dict[str, t.Any]:
    result = result_of(rows, diff)
    failed = [row for row in rows if row.failed]
    if failed and (not params["allow_partial"] or len(failed) == len(rows)):
        raise AutoscaleError(summary(rows, verb), result=result)
    return result


def wanted_vms(params: Params) -> tuple[tuple[Wanted, ...], Guest]:
    """The VMs asked for, with all marks as text; checked before anybody is asked.

    :raises InvalidSpecError: names the option, the value and what is allowed.
    """
    for option in ("max_in_flight", "cpus", "memory_mb"):
        if params[option] is not None and params[option] < 1:
            raise InvalidSpecError(f"{option} {params[option]} is not allowed: at least 1")
    for name, seconds in params["timeouts"].items():
        if seconds < 0:
            raise InvalidSpecError(f"timeouts.{name} {seconds} is not allowed: seconds, at least 0")
    if params["user_data"] and params["customization"] != "cloudinit":
        raise InvalidSpecError("user_data needs customization: cloudinit")
    network = params["network"] or {}
    present = params["state"] == "present"
    guest = Guest(
        customization=params["customization"],
        network=GuestNetwork(
            cidr=network.get("cidr") or "",
            gateway=network.get("gateway") or "",
            dns_servers=tuple(network.get("dns_servers") or ()),
            domain=network.get("domain") or "",
        ),
        user_data=params["user_data"] or "",
    )
    if present:
        check_network(guest.network)
    wanted = []
    for row in params["vms"]:
        marks = {**(params["marks"] or {}), **(row["marks"] or {})}
        texts = {str(key): str(value) for key, value in marks.items() if value not in (None, "")}
        address = row["address"] or ""
        check_wanted(row["name"], address if present else "", texts, guest)
        wanted.append(Wanted(row["name"], address, texts))
    for what, values in (
        ("name", [vm.name for vm in wanted]),
        ("address", [vm.address for vm in wanted if vm.address]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise InvalidSpecError(f"vms.{what} {', '.join(twice)} is given more than once")
    return tuple(wanted), guest


def _names(params: Params) -> Names:
    network = params["network"] or {}
    options = ("template", "datacenter", "folder", "cluster", "resource_pool", "datastore", "host")
    return Names(network=network.get("name"), **{option: params[option] for option in options})


def _datacenter(inventory: Inventory, wanted: str | None) -> t.Any:
    """The datacenter object, or None for the whole inventory."""
    if not wanted:
        return None
    lookup = Lookup(inventory.scan({vim.Datacenter: [], vim.Folder: []}), inventory.client.settings.where)
    return lookup.find("datacenter", wanted, lookup.of_kind("Datacenter"), "datacenter").ref


def list_vms(params: Params) -> dict[str, t.Any]:
    """``vsphere_clone_info``."""
    marks = {str(key): str(value) for key, value in params["marks"].items()}
    names = params["names"]
    with Client(Settings.from_params(params)) as client:
        inventory = Inventory(client)
        root = _datacenter(inventory, params["datacenter"])
        if names is None:
            machines, hosts = inventory.all_machines(root=root)
        else:
            machines, hosts = inventory.named_machines(names, root=root)
    chosen = [m for m in machines if not marks or (m.has_marks(marks) and not m.is_template)]
    return {"changed": False, "vms": [_info(m, hosts) for m in sorted(chosen, key=lambda m: (m.name, m.moid))]}


def _info(machine: Machine, hosts: t.Mapping[str, str]) -> dict[str, t.Any]:
    marks = machine.marks or {}
    return {
        "name": machine.name,
        "moid": machine.moid,
        "address": machine_address(machine),
        "addresses": list(machine.addresses),
        "power_state": machine.power_state,
        "marks": dict(marks),
        "template": marks.get("template", ""),
        "is_template": machine.is_template,
        "host": hosts.get(machine.host_moid, ""),
        "created": machine.created,
        "created_at": iso(machine.created),
        "tools_status": machine.tools_status,
        "customization_status": machine.customization_status,
    }


def keep_template(params: Params, *, check_mode: bool) -> dict[str, t.Any]:
    """``vsphere_template``."""
    options = ("name", "source", "datacenter", "folder", "datastore", "annotation", "replace", "force")
    order = TemplateOrder(timeout=params["wait_timeout"], **{option: params[option] for option in options})
    started = time.monotonic()
    with Client(Settings.from_params(params)) as client:
        job = TemplateJob(Inventory(client), order, Pace(params["wait_interval"]))
        before = after = job.existing
        if params["state"] == "present":
            changed = job.needs_work()
            if changed:
                source = job.source()
                after = before if check_mode else job.create(source)
        else:
            changed = job.check_delete()
            if changed and before is not None and not check_mode:
                job.delete(before)
            after = None if changed else before
    states = {"before": _template_state(before), "after": _template_state(after)}
    if changed and params["state"] == "present" and check_mode:
        states["after"] = {"state": "present", "name": order.name, "source": order.source, "moid": "(new)"}
    return {"changed": changed, "template": _template_row(after, time.monotonic() - started), "diff": states}


def _template_state(machine: Machine | None) -> dict[str, t.Any]:
    if machine is None:
        return {"state": "absent"}
    source = (machine.marks or {}).get("source", "")
    return {"state": "present", "name": machine.name, "source": source, "moid": machine.moid}


def _template_row(machine: Machine | None, seconds: float) -> dict[str, t.Any]:
    if machine is None:
        return {}
    return {
        "name": machine.name,
        "moid": machine.moid,
        "is_template": machine.is_template,
        "marks": dict(machine.marks or {}),
        "created": machine.created,
        "created_at": iso(machine.created),
        "seconds": round(seconds, 3),
    }
