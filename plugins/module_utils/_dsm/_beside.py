# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What is made beside a cluster: the DatabaseConfig of its parameters, the Secret of its administrator's password.
"""

from __future__ import annotations

import base64
import copy
import typing as t

from .._common._errors import ConflictError, StaleError, UnsettledError
from . import _cluster
from ._objects import CLUSTER, CONFIG, MADE_FOR, SECRET, Kind, Object, Objects

ROUNDS = 5


class Beside(t.NamedTuple):
    """One object beside a cluster: as it is, and as it shall be; the same object when nothing is to do."""

    kind: Kind
    live: Object | None
    new: Object | None

    @property
    def changed(self) -> bool:
        """Whether there is something to write."""
        return self.live != self.new


def config(objects: Objects, name: str, parameters: t.Mapping[str, t.Any]) -> Beside:
    """The DatabaseConfig with these parameters; others that stand in it stay."""
    live = objects.get(CONFIG, _cluster.config_name(name))
    new = copy.deepcopy(live) if live else _new(name, _cluster.config_name(name), {"spec": {"params": {}}})
    texts = _cluster.parameter_texts(parameters)
    new["spec"] = _cluster.merge(new.get("spec") or {}, {"params": texts})
    return Beside(CONFIG, live, new)


def secret(
    objects: Objects, cluster: str, name: str, password: str, *, exists: bool, warn: t.Callable[[str], None]
) -> Beside:
    """The Secret with this password; where it may not be read, it is written for a new cluster only.

    :param exists: whether the cluster does.
    """
    readable, live = objects.peek(SECRET, name)
    data = {"password": base64.b64encode(password.encode()).decode("ascii")}
    if not readable and exists:
        warn(f"Secret {name} may not be read: its password is taken to be as it is")
        return Beside(SECRET, None, None)
    new = copy.deepcopy(live) if live else _new(cluster, name, {"type": "Opaque"})
    new["data"] = {**(new.get("data") or {}), **data}
    return Beside(SECRET, live, new)


def write(objects: Objects, read: t.Callable[[], Beside]) -> None:
    """Make what *read* finds to be different; read again after a conflict or a lost answer."""
    for _round in range(ROUNDS):
        one = read()
        if not one.changed or one.new is None:
            return
        try:
            if one.live is None:
                objects.create(one.kind, one.new)
            else:
                objects.replace(one.kind, one.new)
        except StaleError:
            continue
        except UnsettledError:
            if read().changed:
                raise
            return
        return
    raise ConflictError(
        f"{one.kind.name} {one.new['metadata']['name']} was changed by somebody else {ROUNDS} times in a row",
        remedy="See who writes it, then run again.",
    )


def leftovers(objects: Objects, name: str) -> list[tuple[Kind, Object]]:
    """What was made for the cluster and is used by no other one."""
    found = [
        (kind, one)
        for kind, one in (
            (CONFIG, objects.get(CONFIG, _cluster.config_name(name))),
            (SECRET, objects.peek(SECRET, _cluster.secret_name(name))[1]),
            (SECRET, objects.peek(SECRET, _cluster.replication_secret_name(name))[1]),
        )
        if one and (one["metadata"].get("labels") or {}).get(MADE_FOR) == name
    ]
    if not found:
        return []
    used = {
        (kind, _cluster.lookup(cluster.get("spec"), path))
        for cluster in objects.list(CLUSTER)
        if cluster["metadata"]["name"] != name
        for kind, path in ((CONFIG, ("databaseConfig", "name")), (SECRET, ("adminPasswordRef", "name")))
    }
    return [(kind, one) for kind, one in found if (kind, one["metadata"]["name"]) not in used]


def _new(cluster: str, name: str, body: Object) -> Object:
    return {"metadata": {"name": name, "labels": {MADE_FOR: cluster}}, **body}
