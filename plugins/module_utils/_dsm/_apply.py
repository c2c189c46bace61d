# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

From what is there to what is wanted: read, compare, write what was read, and read again when somebody was faster or
the answer was lost.
"""

from __future__ import annotations

import copy
import functools
import typing as t

from .._common._errors import (
    AutoscaleError,
    BackendDownError,
    ConflictError,
    InvalidSpecError,
    RefusedError,
    StaleError,
    UnsettledError,
    WaitTimeoutError,
)
from .._common._waiter import Waiter
from . import _beside, _cluster, _refuse
from ._objects import CLUSTER, Object, Objects

ROUNDS = 10
MakeWaiter = t.Callable[[], Waiter]


class Outcome(t.NamedTuple):
    """What a module returns: whether, from what, to what."""

    changed: bool
    before: Object
    after: Object
    cluster: Object | None

    def result(self, *, diff: bool) -> dict[str, t.Any]:
        """For ``exit_json``."""
        answer: dict[str, t.Any] = {
            "changed": self.changed,
            "cluster": _cluster.row(self.cluster) if self.cluster else None,
        }
        if diff:
            answer["diff"] = {"before": self.before, "after": self.after}
        return answer


class Wish:
    """What an object shall be. :meth:`steps` are the objects to write, in order, until it is so."""

    def __init__(self, name: str, wanted: Object, *, lock: str | None = None, unlock_reason: str | None = None) -> None:
        self.name = name
        self.wanted = wanted
        self.lock = lock
        self.unlock_reason = unlock_reason

    def new(self) -> Object:
        """The object to create."""
        labels = dict(self.wanted["metadata"]["labels"])
        if self.lock:
            labels[_cluster.LOCK] = _cluster.LOCKS[self.lock]
        meta = {"name": self.name, "labels": labels, "annotations": dict(self.wanted["metadata"]["annotations"])}
        return {"metadata": meta, "spec": _cluster.merge({}, self.wanted["spec"])}

    def steps(self, live: Object) -> list[Object]:
        """An unlocking comes before and a lock after everything else, as DSM looks at the lock that is there."""
        edited = self._edited(live)
        relock = self.lock is not None and _cluster.lock_of(live) != self.lock
        steps = []
        if relock and self.lock != "locked":
            live = self._locked(live)
            edited = self._locked(edited)
            steps.append(live)
        if edited != live:
            steps.append(edited)
        if relock and self.lock == "locked":
            steps.append(self._locked(edited))
        return steps

    def edits(self, live: Object) -> bool:
        """Whether more than the lock changes."""
        return self._edited(live) != live

    def _edited(self, live: Object) -> Object:
        body = copy.deepcopy(live)
        for part in ("labels", "annotations"):
            wanted = self.wanted["metadata"][part]
            if wanted:
                body["metadata"][part] = {**(body["metadata"].get(part) or {}), **wanted}
        body["spec"] = _cluster.merge(live.get("spec") or {}, self.wanted["spec"])
        return body

    def _locked(self, found: Object) -> Object:
        body = copy.deepcopy(found)
        meta = body["metadata"]
        meta["labels"] = {**(meta.get("labels") or {}), _cluster.LOCK: _cluster.LOCKS[self.lock or "locked"]}
        if self.unlock_reason:
            meta["annotations"] = {**(meta.get("annotations") or {}), _cluster.UNLOCK_REASON: self.unlock_reason}
        return body


def present(
    objects: Objects,
    params: t.Mapping[str, t.Any],
    *,
    check: bool,
    waiter: MakeWaiter | None,
    warn: t.Callable[[str], None],
) -> Outcome:
    """Make, grow or change the cluster. :raises AutoscaleError: of the kind that it is; nothing half told."""
    name = params["name"]
    _refuse.options(params)
    wish = Wish(name, _cluster.render(params), lock=params["lock"], unlock_reason=params["unlock_reason"])
    live = objects.get(CLUSTER, name)
    beside: list[t.Callable[[], _beside.Beside]] = []
    if params["parameters"]:
        beside.append(lambda: _beside.config(objects, name, params["parameters"]))
    for secret, password in (
        (_cluster.secret_name(name), params["admin_password"]),
        (_cluster.replication_secret_name(name), params.get("replication_password")),
    ):
        if password:
            beside.append(
                functools.partial(_beside.secret, objects, name, secret, password, exists=bool(live), warn=warn)
            )
    found = [(read, read()) for read in beside]
    more = any(one.changed for _read, one in found)
    check_before(objects, wish, live, more=more)
    before, after = _views(wish, live, [one for _read, one in found])
    changed = live is None or bool(wish.steps(live)) or more
    if check:
        return Outcome(changed, before, after, live or _cluster_of(objects, wish))
    for read, one in found:
        if one.changed:
            _beside.write(objects, read)
    cluster, _wrote = converge(objects, wish, live)
    if waiter:
        cluster = wait_ready(objects, cluster, waiter(), changed=changed)
    return Outcome(changed, before, after, cluster)


def check_before(objects: Objects, wish: Wish, live: Object | None, *, more: bool = False) -> None:
    """Refuse what DSM would refuse, and what this module does not dare.

    :param more: whether something beside the cluster changes.
    """
    if live is None:
        new = wish.new()
        _refuse.incomplete(wish.name, new)
        _refuse.precheck(objects, wish.name, {}, new["spec"])
        return
    if live["metadata"].get("deletionTimestamp"):
        raise ConflictError(
            f"PostgresCluster {wish.name} is being deleted", remedy="Wait until it is gone, or take another name."
        )
    if more or wish.edits(live):
        _refuse.locked(wish.name, live, wish.lock)
    if wish.edits(live):
        old, new = live.get("spec") or {}, _cluster.merge(live.get("spec") or {}, wish.wanted["spec"])
        _refuse.shrink(objects, wish.name, old, new)
        _refuse.precheck(objects, wish.name, old, new)


def converge(objects: Objects, wish: Wish, live: Object | None) -> tuple[Object, bool]:
    """Write until nothing is left to do; the object, and whether it was written.

    :param live: as the caller has checked it.
    :raises ConflictError: somebody else changed it each time.
    """
    wrote = False
    for turn in range(ROUNDS):
        if live is None:
            live, wrote = _written(objects, lambda: objects.create(CLUSTER, wish.new()), wish, None)
            continue
        steps = wish.steps(live)
        if not steps:
            return live, wrote
        if turn:
            check_before(objects, wish, live)
        body = steps[0]
        live, sent = _written(objects, lambda body=body: objects.replace(CLUSTER, body), wish, len(steps))
        wrote = wrote or sent
    raise ConflictError(
        f"PostgresCluster {wish.name} was changed by somebody else {ROUNDS} times in a row",
        remedy="See who writes it, then run again.",
    )


def _written(objects: Objects, write: t.Callable[[], Object], wish: Wish, left: int | None) -> tuple[Object, bool]:
    """The object after a write, and whether it was ours: read where somebody was faster, or where the answer was lost.

    :param left: steps before this one; None for a creation.
    :raises UnsettledError: the answer was lost, and so was the change.
    :raises RefusedError: DSM took the change and did not keep it.
    """
    try:
        found: Object | None = write()
    except StaleError as error:
        found = objects.get(CLUSTER, wish.name)
        if found is None:
            raise error
        return found, False
    except UnsettledError as error:
        try:
            found = objects.get(CLUSTER, wish.name)
        except AutoscaleError:
            raise error from None
        if found is None or (left is not None and len(wish.steps(found)) >= left):
            raise error
        return found, True
    steps = wish.steps(found)
    if left is not None and len(steps) >= left:
        lost = ", ".join(_differences(found, steps[-1]))
        raise RefusedError(
            f"DSM took the change of PostgresCluster {wish.name} and did not keep it: {lost}",
            remedy="Check the fields of spec_extra, labels and annotations: DSM drops unknown ones silently.",
            result={"changed": True, "cluster": _cluster.row(found)},
        )
    return found, True


def _differences(one: t.Any, other: t.Any, path: str = "") -> list[str]:
    """Where two objects differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
        return [line for key in keys for line in _differences(one.get(key), other.get(key), f"{path}.{key}")]
    return [path.lstrip(".")]


def absent(objects: Objects, params: t.Mapping[str, t.Any], *, check: bool, waiter: MakeWaiter | None) -> Outcome:
    """Delete the cluster, and then what was made for it. :raises AutoscaleError: of the kind that it is."""
    name = params["name"]
    if params["confirm_delete"] != name:
        raise InvalidSpecError(
            f"confirm_delete: value is {params['confirm_delete']!r}; allowed: {name}, the name of what is deleted",
            remedy="A cluster goes with all its data; nothing was sent.",
        )
    live = objects.get(CLUSTER, name)
    before = _cluster.view(live)
    if live:
        _refuse.locked_for_delete(name, live, params["lock"])
    if check:
        changed = live is not None or bool(_beside.leftovers(objects, name))
        return Outcome(changed, before, {}, live)
    gone = live is None or _delete(objects, params, live, waiter)
    left = _beside.leftovers(objects, name) if gone else []
    for kind, one in left:
        objects.delete(kind, one)
    return Outcome(live is not None or bool(left), before, {}, None if gone else objects.get(CLUSTER, name))


def _delete(objects: Objects, params: t.Mapping[str, t.Any], live: Object, waiter: MakeWaiter | None) -> bool:
    """Unlock where it is asked for, delete, wait; whether it is gone."""
    name, uid = params["name"], live["metadata"]["uid"]
    if not live["metadata"].get("deletionTimestamp"):
        if _cluster.lock_of(live):
            nothing = {"metadata": {"labels": {}, "annotations": {}}, "spec": {}}
            wish = Wish(name, nothing, lock="unlocked_for_delete", unlock_reason=params["unlock_reason"])
            live, _wrote = converge(objects, wish, live)
        try:
            objects.delete(CLUSTER, live)
        except UnsettledError:
            after = objects.get(CLUSTER, name)
            if after and after["metadata"]["uid"] == uid and not after["metadata"].get("deletionTimestamp"):
                raise

    def look() -> Object | None:
        found = objects.get(CLUSTER, name)
        return found if found and found["metadata"]["uid"] == uid else None

    if not waiter:
        return look() is None
    waiter().until(
        _patient(look, live),
        lambda found: found is None,
        f"The end of PostgresCluster {name}",
        remedy="See its conditions in DSM; run again to go on waiting and to remove what was made for it.",
        result=lambda found: {"changed": True, "cluster": _cluster.row(found) if found else None},
    )
    return True


def wait_ready(objects: Objects, cluster: Object, waiter: Waiter, *, changed: bool) -> Object:
    """Wait until it is ready with the spec that it has. :raises WaitTimeoutError: with the object as it is."""
    name, uid = cluster["metadata"]["name"], cluster["metadata"].get("uid")

    def look() -> Object:
        found = objects.get(CLUSTER, name)
        if found is None or found["metadata"].get("uid") != uid:
            raise ConflictError(f"PostgresCluster {name} was deleted by somebody else while it was waited for")
        return found

    seen = {"cluster": cluster}

    def note() -> Object:
        seen["cluster"] = _patient(look, seen["cluster"])()
        return seen["cluster"]

    try:
        return waiter.until(note, _cluster.is_ready, f"Condition Ready of PostgresCluster {name}")
    except WaitTimeoutError as error:
        row = _cluster.row(seen["cluster"])
        said = ": ".join(filter(None, (row["reason"], row["message"])))
        raise WaitTimeoutError(
            error.message + (f"; DSM says {said}" if said else ""),
            remedy="See its conditions, and run again to go on waiting; DSM works on.",
            result={"changed": changed, "cluster": row},
        ) from None


def _patient(look: t.Callable[[], t.Any], instead: t.Any) -> t.Callable[[], t.Any]:
    """A look that lives through an outage of the gateway: what was seen last is still so."""

    def patient() -> t.Any:
        try:
            return look()
        except BackendDownError:
            return instead

    return patient


def _views(wish: Wish, live: Object | None, beside: t.Sequence[_beside.Beside]) -> tuple[Object, Object]:
    steps = wish.steps(live) if live else [wish.new()]
    before, after = _cluster.view(live), _cluster.view(steps[-1] if steps else live)
    for one in beside:
        if not one.changed:
            continue
        if one.kind is _beside.CONFIG:
            before["parameters"] = _cluster.lookup((one.live or {}).get("spec"), ("params",)) or {}
            after["parameters"] = _cluster.lookup((one.new or {}).get("spec"), ("params",)) or {}
        else:
            admins = (one.new or {})["metadata"]["name"] == _cluster.secret_name(wish.name)
            option = "admin_password" if admins else "replication_password"
            before[option] = "(not shown)" if one.live else "(none)"
            after[option] = "(not shown, another one)" if one.live else "(not shown)"
    return before, after


def _cluster_of(objects: Objects, wish: Wish) -> Object:
    """What a check mode shows of a cluster that is not there."""
    body = wish.new()
    return {**body, "metadata": {**body["metadata"], "namespace": objects.namespace}}
