# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Whether the other site could take over now, as a score with reasons. What nobody looked at does not count as well.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ._recovery import RecoveryPlan, Service
from ._recovery_measure import seconds_of
from ._recovery_steps import REAL, steps_of
from ._value import _Value

#: A drill older than this proves little.
DRILL_AGE_S = 90 * 86400

Facts = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class ReadyCheck(_Value):
    """One check; a must makes the whole not ready."""

    name: str
    ok: bool
    weight: int
    must: bool
    reason: str


@dataclasses.dataclass(frozen=True)
class Readiness(_Value):
    """The score from 0 to 100, by weight."""

    plan: str
    source: str
    target: str
    score: int
    ready: bool
    checks: tuple[ReadyCheck, ...]


def readiness(plan: RecoveryPlan, source: str, target: str, facts: Facts, now: float) -> Readiness:
    """Whether *target* could take over from *source*.

    :param facts: what was seen, each with ``said`` for a person: ``backends`` (of the target: name -> ok),
        ``epoch`` (stores, reached), ``services`` (name -> for data following and lag_s, or copied_at; for models and
        settings copied_at; for a group members, room, template), ``traffic`` (ok, sites_on), ``resolvers`` (a list of
        address, ok), ``check`` (site -> ok), ``outage`` (series), ``drill`` (the last report), ``unfinished`` (runs).
    """
    checks = [
        *_backends(facts),
        _epoch(plan, facts),
        *(check for service in plan.in_order() for check in _service(plan, service, target, facts, now)),
        *_traffic(plan, source, target, facts),
        _outage(facts),
        _time_planned(plan, source, target),
        *_drill(plan, facts, now),
        _unfinished(facts),
    ]
    whole, good = sum(check.weight for check in checks), sum(check.weight for check in checks if check.ok)
    return Readiness(
        plan=plan.name,
        source=source,
        target=target,
        score=100 * good // whole,
        ready=all(check.ok for check in checks if check.must),
        checks=tuple(checks),
    )


def _check(name: str, ok: t.Any, reason: str, *, weight: int = 5, must: bool = False, said: t.Any = "") -> ReadyCheck:
    """*ok* None: not known."""
    text = "not known" if ok is None else reason
    return ReadyCheck(name, ok is True, weight, must, f"{text} ({said})" if said else text)


def _of(facts: Facts, *path: str) -> dict[str, t.Any]:
    """A mapping in *facts*; empty where there is none."""
    value: t.Any = facts
    for key in path:
        value = value.get(key) if isinstance(value, t.Mapping) else None
    return dict(value) if isinstance(value, t.Mapping) else {}


def _number(seen: Facts, key: str) -> float | int | None:
    """A number, which templates may have made a text; None where there is none."""
    value = seconds_of(seen, key)
    return int(value) if value is not None and value.is_integer() else value


def _backends(facts: Facts) -> t.Iterator[ReadyCheck]:
    rows = _of(facts, "backends")
    if not rows:
        yield _check("backends", None, "", weight=10, must=True)
    for name in rows:
        seen = _of(rows, name)
        words = "answers" if seen.get("ok") is True else "does not answer"
        yield _check(f"backend:{name}", seen.get("ok"), words, weight=10, must=True, said=seen.get("said"))


def _epoch(plan: RecoveryPlan, facts: Facts) -> ReadyCheck:
    seen = _of(facts, "epoch")
    stores, reached = _number(seen, "stores"), _number(seen, "reached")
    if stores is None or reached is None:
        return _check("epoch", None, "", weight=10, must=bool(plan.of_kind("group")), said=seen.get("said"))
    if not stores:
        return _check("epoch", False, "there are no stores, so both sites' autoscalers may act", weight=10)
    words = f"{reached} of {stores} stores reached"
    return _check("epoch", reached > stores / 2, words, weight=10, must=True, said=seen.get("said"))


def _service(plan: RecoveryPlan, service: Service, target: str, facts: Facts, now: float) -> t.Iterator[ReadyCheck]:
    seen, name = _of(facts, "services", service.name), f"{service.kind}:{service.name}"
    said = seen.get("said")
    if service.kind == "group":
        yield from _group(service, seen, name, target)
    elif service.kind == "data" and service.replication != "dump":
        words = "follows" if seen.get("following") is True else "does not follow"
        yield _check(name, seen.get("following"), words, weight=15, must=True, said=said)
        lag = _number(seen, "lag_s")
        late = None if lag is None else lag <= plan.targets.rpo
        yield _check(f"{name}:lag", late, f"{lag} s behind, the target is {plan.targets.rpo} s", weight=10)
    else:
        limit, weight = (plan.targets.rpo, 15) if service.kind == "data" else (service.max_age or 0, 5)
        copied = _number(seen, "copied_at")
        if "copied_at" in seen and copied is None:
            yield _check(name, False, "there is no copy", weight=weight, must=True, said=said)
            return
        age = None if copied is None else max(0, round(now - copied))
        fresh = None if age is None else age <= limit
        yield _check(name, copied is not None or None, "there is a copy", weight=weight, must=True, said=said)
        yield _check(f"{name}:age", fresh, f"the newest copy is {age} s old, {limit} s are allowed", weight=weight)


def _group(service: Service, seen: t.Mapping[str, t.Any], name: str, target: str) -> t.Iterator[ReadyCheck]:
    members, room, said = _number(seen, "members"), _number(seen, "room"), seen.get("said")
    enough = None if members is None else members >= (service.standby or 0)
    words = f"{members} members in service at site {target}, {service.standby} are to stand by"
    yield _check(name, enough, words, weight=10, must=True, said=said)
    if service.serving == service.standby:
        return
    fits = None if room is None else room >= (service.serving or 0)
    yield _check(f"{name}:room", fits, f"addresses for {room} members, {service.serving} are to serve", must=True)
    words = "the template is there" if seen.get("template") is True else "the template is missing"
    yield _check(f"{name}:template", seen.get("template"), words, must=True)


def _traffic(plan: RecoveryPlan, source: str, target: str, facts: Facts) -> t.Iterator[ReadyCheck]:
    seen = _of(facts, "traffic")
    words = (
        f"{plan.traffic.name} can be steered" if seen.get("ok") is True else f"{plan.traffic.name} cannot be steered"
    )
    yield _check("traffic", seen.get("ok"), words, weight=10, must=True, said=seen.get("said"))
    wanted = {source, target} if plan.pattern == "active_active" else {source}
    on = seen.get("sites_on")
    as_wanted = None if on is None else set(on) == wanted
    words = f"on: {', '.join(sorted(on or [])) or 'none'}; the pattern wants {', '.join(sorted(wanted))}"
    yield _check("traffic:sites", as_wanted, words)
    rows = facts.get("resolvers") or []
    silent = [str(row.get("address")) for row in rows if row.get("ok") is not True]
    words = f"no answer from {', '.join(silent)}" if silent else f"{len(rows)} answer"
    yield _check("resolvers", not silent if rows else None, words)
    if any(service.standby for service in plan.of_kind("group")):
        answer = _of(facts, "check", target)
        words = f"site {target} itself answers" if answer.get("ok") is True else f"site {target} itself does not answer"
        yield _check("check", answer.get("ok"), words, weight=10, must=True, said=answer.get("said"))


def _outage(facts: Facts) -> ReadyCheck:
    seen = _of(facts, "outage")
    series = seen.get("series")
    count = series if series is None or isinstance(series, int) else len(series)
    words = f"{count} series tell when the service was lost" if count else "no series, so RTO could not be measured"
    return _check("outage", None if count is None else count > 0, words, said=seen.get("said"))


def _time_planned(plan: RecoveryPlan, source: str, target: str) -> ReadyCheck:
    steps = steps_of(plan, "failover", source, target)
    seconds, rto = sum(step.expected for step in steps) + plan.traffic.ttl, plan.targets.rto
    gates = [step.name for step in steps if step.gate == "manual"]
    said = f"and the time at the gates {', '.join(gates)}" if gates else ""
    return _check("rto", seconds <= rto, f"the steps are planned to take {seconds} s, the target is {rto} s", said=said)


def _drill(plan: RecoveryPlan, facts: Facts, now: float) -> t.Iterator[ReadyCheck]:
    if plan.drill is None:
        yield _check("drill", False, "the plan has no drill")
        return
    last = _of(facts, "drill")
    at = _number(last, "ended_at")
    if at is None:
        yield _check("drill", False, "there was none")
        return
    days = max(0, round((now - at) / 86400))
    words = f"the last one was {days} days ago and ended {last.get('result')}"
    yield _check("drill", last.get("result") == "done" and now - at <= DRILL_AGE_S, words)
    seconds, rto = _number(last, "rto_s"), plan.targets.rto
    kept = None if seconds is None else seconds <= rto
    yield _check("drill:rto", kept, f"the last one took {seconds} s, the target is {rto} s")


def _unfinished(facts: Facts) -> ReadyCheck:
    rows = facts.get("unfinished")
    real = [row for row in rows or [] if not isinstance(row, t.Mapping) or row.get("kind", REAL[0]) in REAL]
    names = [str(row.get("run", row)) if isinstance(row, t.Mapping) else str(row) for row in real]
    words = f"to be finished first: {', '.join(names)}" if names else "no failover or failback is unfinished"
    return _check("unfinished", None if rows is None else not names, words, must=True)
