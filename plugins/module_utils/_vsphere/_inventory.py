# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Reading vCenter in few calls: one container view and one property call for "what is there", one property call for "how
are these". No attribute of a managed object is ever read by itself (each would be a call of its own).
"""

from __future__ import annotations

import contextlib
import ipaddress
import typing as t
from dataclasses import dataclass, field
from datetime import datetime, timezone
from urllib.parse import unquote

from .._common._errors import AutoscaleError
from ._client import Client, FaultError, vim, vmodl

#: All keys that this collection writes into ``config.extraConfig`` start so.
MARK_PREFIX = "onprem.autoscale."
#: A reading is begun anew so often, at most, because its session ended in the middle of it.
RENEWALS = 3
T = t.TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """An object of the inventory; ``path`` is its inventory path without a leading slash (``DC0/vm/web-1``)."""

    ref: t.Any
    kind: str
    name: str
    path: str
    properties: dict[str, t.Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def moid(self) -> str:
        """The managed object id (``vm-42``)."""
        return self.ref._GetMoId()


@dataclass(frozen=True)
class Machine:
    """A virtual machine as read in one property call."""

    ref: t.Any
    name: str
    power_state: str
    is_template: bool
    #: None while vCenter still builds the VM: nobody can say yet whose it is.
    marks: dict[str, str] | None
    addresses: tuple[str, ...]
    address: str
    tools_status: str
    host_moid: str
    created: float | None
    customization_pending: bool
    customization_status: str
    customization_error: str
    properties: dict[str, t.Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def moid(self) -> str:
        """The managed object id (``vm-42``)."""
        return self.ref._GetMoId()

    def has_marks(self, wanted: t.Mapping[str, str]) -> bool:
        """Whether every one of *wanted* stands on the VM with that value."""
        return self.marks is not None and all(self.marks.get(key) == value for key, value in wanted.items())


def machine_properties(api_version: tuple[int, ...]) -> list[str]:
    """The property paths of :class:`Machine`; some came with an API version, and one unknown path fails all."""
    paths = [
        "name",
        "parent",
        "runtime.powerState",
        "runtime.host",
        "config.template",
        "config.extraConfig",
        "config.tools.pendingCustomization",
        "guest.ipAddress",
        "guest.net",
        "guest.toolsRunningStatus",
    ]
    if api_version >= (6, 7):
        paths.append("config.createDate")
    if api_version >= (7, 0, 2):
        paths.append("guest.customizationInfo")
    return paths


def read_marks(extra_config: t.Iterable[t.Any] | None) -> dict[str, str]:
    """The collection's own keys among ``config.extraConfig``, without their prefix; empty values are absent ones."""
    return {
        option.key[len(MARK_PREFIX) :]: str(option.value)
        for option in extra_config or ()
        if option.key.startswith(MARK_PREFIX) and option.value not in (None, "")
    }


def is_routable(address: str) -> bool:
    """Whether an address that the guest reports can be one that others reach (not link-local, not loopback)."""
    try:
        parsed = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return False
    return not (parsed.is_link_local or parsed.is_loopback or parsed.is_unspecified or parsed.is_multicast)


def guest_addresses(nics: t.Iterable[t.Any] | None, first: str | None) -> tuple[str, ...]:
    """All addresses that the guest reports, the primary one first, each once."""
    found = [first] if first else []
    for nic in nics or ():
        found.extend(nic.ipAddress or ())
    return tuple(dict.fromkeys(found))


def epoch(moment: datetime | None) -> float | None:
    """Seconds since 1970 (UTC) of a vCenter time stamp; one without a zone is UTC."""
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def iso(seconds: float | None) -> str | None:
    """ISO 8601 in UTC of seconds since 1970."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_machine(ref: t.Any, properties: dict[str, t.Any]) -> Machine:
    """A :class:`Machine` from what a property call returned; missing properties are empty."""
    info = properties.get("guest.customizationInfo")
    extra = properties.get("config.extraConfig")
    # A VM without config.template has no config at all yet; an empty extraConfig alone is legal.
    known = "config.template" in properties
    addresses = guest_addresses(properties.get("guest.net"), properties.get("guest.ipAddress"))
    host = properties.get("runtime.host")
    return Machine(
        ref=ref,
        name=unquote(properties.get("name", "")),
        power_state=str(properties.get("runtime.powerState", "")),
        is_template=bool(properties.get("config.template", False)),
        marks=read_marks(extra) if known else None,
        addresses=addresses,
        address=next((a for a in addresses if is_routable(a)), addresses[0] if addresses else ""),
        tools_status=str(properties.get("guest.toolsRunningStatus", "") or ""),
        host_moid=host._GetMoId() if host is not None else "",
        created=epoch(properties.get("config.createDate")),
        customization_pending=bool(properties.get("config.tools.pendingCustomization")),
        customization_status=str(getattr(info, "customizationStatus", "") or ""),
        customization_error=str(getattr(info, "errorMsg", "") or ""),
        properties=properties,
    )


class Inventory:
    """What one vCenter session shows, read with as few calls as it takes."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def scan(self, wanted: t.Mapping[t.Any, t.Sequence[str]], *, root: t.Any = None) -> list[Entry]:
        """All objects of the types *wanted* below *root*, with these properties and their inventory paths.

        One container view, one property call (more pages only when vCenter cuts the answer).

        :param wanted: type (like ``vim.Datastore``) to property paths; ``name`` and ``parent`` are always read.
        """
        return _with_paths(self._in_one_session(lambda: self._scan(wanted, root)))

    def _scan(self, wanted: t.Mapping[t.Any, t.Sequence[str]], root: t.Any) -> list[tuple[t.Any, dict[str, t.Any]]]:
        kinds = list(wanted)
        view = self.client.call(
            "open a view of the inventory",
            self.client.content.viewManager.CreateContainerView,
            root or self.client.content.rootFolder,
            kinds,
            True,
        )
        try:
            query = vmodl.query.PropertyCollector
            walk = query.TraversalSpec(name="all", path="view", skip=False, type=vim.view.ContainerView)
            filters = query.FilterSpec(
                objectSet=[query.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
                propSet=[
                    query.PropertySpec(type=kind, pathSet=sorted({"name", "parent", *paths}), all=False)
                    for kind, paths in wanted.items()
                ],
            )
            return self._retrieve(filters)
        finally:
            with contextlib.suppress(AutoscaleError):  # it ends with the session; what was read is not worse for it
                self.client.call("close a view of the inventory", view.DestroyView)

    def read(self, refs: t.Sequence[t.Any], paths: t.Mapping[t.Any, t.Sequence[str]]) -> dict[str, dict[str, t.Any]]:
        """Properties of the objects *refs* by managed object id, in one call; objects that are gone are left out."""
        query = vmodl.query.PropertyCollector
        left = {ref._GetMoId(): ref for ref in refs}
        while left:
            filters = query.FilterSpec(
                objectSet=[query.ObjectSpec(obj=ref, skip=False) for ref in left.values()],
                propSet=[
                    query.PropertySpec(type=kind, pathSet=list(names), all=False) for kind, names in paths.items()
                ],
            )
            try:
                found = self._in_one_session(lambda filters=filters: self._retrieve(filters))
                return {ref._GetMoId(): properties for ref, properties in found}
            except FaultError as error:
                gone = getattr(error.fault, "obj", None)
                moid = gone._GetMoId() if gone is not None else None
                if not type(error.fault).__name__.endswith("ManagedObjectNotFound") or moid not in left:
                    raise
                del left[moid]
        return {}

    def machines(self, refs: t.Sequence[t.Any], *extra: str) -> dict[str, Machine]:
        """The VMs *refs* by managed object id, in one call."""
        if not refs:
            return {}
        paths = [*machine_properties(self.client.api_version), *extra]
        by_moid = {ref._GetMoId(): ref for ref in refs}
        return {
            moid: to_machine(by_moid[moid], properties)
            for moid, properties in self.read(refs, {vim.VirtualMachine: paths}).items()
        }

    def all_machines(self, *, root: t.Any = None) -> tuple[list[Machine], dict[str, str]]:
        """All VMs below *root* in one property call, and the names of the hosts by managed object id."""
        wanted = {vim.VirtualMachine: machine_properties(self.client.api_version), vim.HostSystem: ["name"]}
        entries = self.scan(wanted, root=root)
        machines = [to_machine(entry.ref, entry.properties) for entry in entries if entry.kind == "VirtualMachine"]
        return machines, {entry.moid: entry.name for entry in entries if entry.kind == "HostSystem"}

    def named_machines(self, names: t.Collection[str], *, root: t.Any = None) -> tuple[list[Machine], dict[str, str]]:
        """The VMs of these names: their names in one call, all else for the matches in a second one."""
        wanted = set(names)
        entries = self.scan({vim.VirtualMachine: ["name"], vim.HostSystem: ["name"]}, root=root)
        refs = [entry.ref for entry in entries if entry.kind == "VirtualMachine" and entry.name in wanted]
        hosts = {entry.moid: entry.name for entry in entries if entry.kind == "HostSystem"}
        return list(self.machines(refs).values()), hosts

    def _in_one_session(self, reading: t.Callable[[], T]) -> T:
        """What *reading* returns; begun anew when its session ended meanwhile, as views and pages end with it."""
        left = RENEWALS
        while True:
            before = self.client.renewals
            try:
                return reading()
            except FaultError:
                if self.client.renewals == before or not left:
                    raise
                left -= 1

    def _retrieve(self, filters: t.Any) -> list[tuple[t.Any, dict[str, t.Any]]]:
        collector = self.client.content.propertyCollector
        options = vmodl.query.PropertyCollector.RetrieveOptions()
        what = "read the inventory"
        found: list[tuple[t.Any, dict[str, t.Any]]] = []
        page = self.client.call(what, collector.RetrievePropertiesEx, [filters], options)
        while page is not None:
            found.extend((o.obj, {p.name: p.val for p in o.propSet or ()}) for o in page.objects or ())
            if not page.token:
                break
            page = self.client.call(what, collector.ContinueRetrievePropertiesEx, page.token)
        return found


def _with_paths(found: list[tuple[t.Any, dict[str, t.Any]]]) -> list[Entry]:
    """Entries with inventory paths put together from ``parent``; vCenter writes / \\ and % in names as %2f %5c %25."""
    names = {ref._GetMoId(): unquote(properties.get("name", "")) for ref, properties in found}
    parents = {ref._GetMoId(): p["parent"]._GetMoId() for ref, p in found if p.get("parent") is not None}

    def path(moid: str) -> str:
        parts: list[str] = []
        current: str | None = moid
        while current in names:
            parts.append(names[current])
            current = parents.get(current)
        return "/".join(reversed(parts))

    return [
        Entry(
            ref=ref,
            kind=type(ref).__name__.rsplit(".", 1)[-1],
            name=names[ref._GetMoId()],
            path=path(ref._GetMoId()),
            properties=properties,
        )
        for ref, properties in found
    ]
