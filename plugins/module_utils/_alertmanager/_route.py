# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One route of ours and its receiver, each in a marked block of Alertmanager's configuration.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._common import _atomic_file, _marked_block
from .._common._config_change import ManagedFile, candidate, check, converge, diff_entry
from .._common._errors import ConflictError, InvalidSpecError
from .._common._marked_block import Marker
from .._common._waiter import Waiter
from ._client import AlertmanagerClient

ROUTES = ("route", "routes")
RECEIVERS = ("receivers",)


@dataclass(frozen=True)
class Route:
    """What is wanted. Without ``route`` and ``receiver`` there shall be neither."""

    name: str
    route: t.Mapping[str, t.Any] | None
    receiver: t.Mapping[str, t.Any] | None
    config_file: str
    amtool: str = "amtool"


def ensure(
    wish: Route, client: AlertmanagerClient, *, waiter: t.Callable[[], Waiter] | None, check_mode: bool
) -> dict[str, t.Any]:
    """Make it so: check, install, reload, verify, or put everything back.

    :returns: ``changed``, ``path``, ``receiver`` (name), ``diff``.
    """
    route, receiver = _bodies(wish)
    path = _atomic_file.resolve(wish.config_file)
    with _atomic_file.locked(path):
        file = ManagedFile(path)
        text = file.text()
        markers = (Marker("receiver", wish.name), Marker("route", wish.name))
        old_name = _owned_receiver(text, markers[0])
        bare = _marked_block.remove_item(text, ROUTES, markers[1])
        bare = _marked_block.remove_item(bare, RECEIVERS, markers[0])
        if receiver is None or route is None:
            after = bare
            name = old_name or wish.name
        else:
            name = receiver["name"]
            if name in _receivers(_marked_block.parse(bare, str(path))):
                raise ConflictError(
                    f"{path} has a receiver {name} that this collection did not write",
                    remedy="Give receiver.name another value, or remove that receiver.",
                )
            after = _marked_block.put_item(text, RECEIVERS, receiver, markers[0])
            after = _marked_block.put_item(after, ROUTES, route, markers[1])
        file.after = after.encode()
        if file.changed:
            with candidate(path, file.after) as copy:
                check(
                    wish.amtool,
                    ["check-config", str(copy)],
                    shown={str(copy): str(path)},
                    remedy="Correct the route or the receiver, or what else the message names.",
                    package="Alertmanager",
                )
        changed = converge(
            [file],
            reload=client.reload,
            loaded=lambda: _loaded(client, name, route is not None),
            what=f"Route {wish.name} in {path}",
            waiter=waiter,
            remedy=lambda: f"Check that {path} is what Alertmanager at {client.url} was started with (--config.file).",
            check_mode=check_mode,
        )
    return {"changed": changed, "path": str(path), "receiver": name, "diff": _diff(path, text, after, markers)}


def _bodies(wish: Route) -> tuple[dict[str, t.Any] | None, dict[str, t.Any] | None]:
    """Route and receiver that name each other. :raises InvalidSpecError: they contradict each other."""
    if wish.route is None or wish.receiver is None:
        return None, None
    name = str(wish.receiver.get("name") or wish.route.get("receiver") or wish.name)
    if wish.route.get("receiver", name) != name:
        raise InvalidSpecError(
            f"route.receiver is {wish.route['receiver']!r} and receiver.name is {name!r}",
            remedy="Make both the same, or leave one out.",
        )
    if not any(wish.route.get(key) for key in ("matchers", "match", "match_re")):
        raise InvalidSpecError(
            "route.matchers is empty: the route would swallow every alert", remedy="Give at least one matcher."
        )
    route = {"receiver": name, **{key: value for key, value in wish.route.items() if key != "receiver"}}
    return route, {"name": name, **{key: value for key, value in wish.receiver.items() if key != "name"}}


def _owned_receiver(text: str, marker: Marker) -> str:
    block = _marked_block.block_item(text, marker)
    return str(block.get("name", "")) if isinstance(block, dict) else ""


def _receivers(config: t.Mapping[str, t.Any]) -> set[str]:
    entries = config.get("receivers")
    return (
        {entry.get("name", "") for entry in entries if isinstance(entry, dict)} if isinstance(entries, list) else set()
    )


def _loaded(client: AlertmanagerClient, receiver: str, wanted: bool) -> bool:
    """Whether both the receiver and a top route to it are (or neither is) in what Alertmanager works with."""
    config = client.running_config()
    routes = (config.get("route") or {}).get("routes") or []
    found = (receiver in _receivers(config), any(route.get("receiver") == receiver for route in routes))
    return all(found) if wanted else not any(found)


def _diff(path: t.Any, before: str, after: str, markers: t.Iterable[Marker]) -> list[dict[str, str]]:
    return [
        diff_entry(
            f"{path} ({marker.kind} {marker.name})",
            _marked_block.block_text(before, marker),
            _marked_block.block_text(after, marker),
        )
        for marker in markers
    ]
