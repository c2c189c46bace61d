# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The epoch: which of several sites may act (D6). Pure functions of what was seen at each store.

A site may act when the highest epoch that it sees names it alone, and that record stands at most of the stores, or was
forced. Two majorities share a store and a store holds one record, so that without force two sites may never both act.
A record that stands at fewer stores is a taking that was cut off: it takes the right from the others and gives it to
nobody until it is finished.

Force is the word of a person that the other side is dead. Where that is wrong, both may act until they see each other:
with two stores only when both were forced, with three when the one that does not see most of them was.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import ConflictError, RefusedError
from ._state import _Row, _rows

GRANTED, HELD = "granted", "held"


@dataclasses.dataclass(frozen=True)
class Claim(_Row):
    """What a store holds of a scope.

    :param alone: taken by force, without most of the stores.
    """

    epoch: int
    holder: str
    alone: bool = False


@dataclasses.dataclass(frozen=True)
class Seen(_Row):
    """One look at one store.

    :param claim: None: it holds nothing of this scope, or was not reached.
    :param msg: why it was not reached.
    """

    store: str
    reached: bool = True
    claim: Claim | None = None
    msg: str = ""

    def __post_init__(self) -> None:
        if self.claim is not None:
            object.__setattr__(self, "claim", _rows(Claim, (self.claim,))[0])


@dataclasses.dataclass(frozen=True)
class Verdict(_Row):
    """Whether a site may act.

    :param epoch: the highest that was seen; 0: none.
    :param holder: whom it names; empty: nobody, or several.
    :param reason: one sentence for people.
    """

    may_act: bool
    epoch: int
    holder: str
    alone: bool
    reason: str


def most(stores: int) -> int:
    """How many of *stores* are more than half of them."""
    return stores // 2 + 1


def judge(site: str, scope: str, seen: t.Sequence[Seen]) -> Verdict:
    """Whether *site* may act on the groups of *scope*, as *seen* at all its stores, reached or not."""
    claims = _claims(seen)
    if not claims:
        reached = any(row.reached for row in seen)
        return Verdict(False, 0, "", False, f"nobody was granted {scope}" if reached else _unreached(seen))
    epoch, holders = _top(claims)
    if len(holders) > 1:
        text = f"epoch {epoch} of {scope} names {' and '.join(holders)}, so nobody may act until one takes the next"
        return Verdict(False, epoch, "", False, text)
    holder = holders[0]
    standing = sum(claim.epoch == epoch for claim in claims)
    alone = any(claim.alone for claim in claims if claim.epoch == epoch)
    text = f"epoch {epoch} of {scope} is held by {holder}"
    if holder != site:
        return Verdict(False, epoch, holder, alone, f"{text}, not by {site}")
    if standing >= most(len(seen)):
        return Verdict(True, epoch, holder, alone, text)
    if alone:
        return Verdict(True, epoch, holder, True, f"{text}, alone: it was forced without most of the stores")
    text += f", and only {standing} of {len(seen)} stores show that, where {most(len(seen))} are needed"
    missing = _unreached(seen)
    return Verdict(False, epoch, holder, False, f"{text}: {missing}" if missing else f"{text}: take it again")


def wanted(state: str, site: str, scope: str, seen: t.Sequence[Seen], *, force: bool = False) -> Claim:
    """What every store that was reached should hold for *site* to be *state*: the claim that it has, or a new one.

    A claim of *site* that is the highest is finished, however few stores have it, so that a taking that was cut off
    burns no epoch. Force without most of the stores is a new claim, unless the highest was such a one already.

    :raises RefusedError: too few stores, and no *force*.
    :raises ConflictError: *granted* for a scope that another site holds or held.
    """
    reached = sum(row.reached for row in seen)
    enough = reached >= most(len(seen))
    verdict = judge(site, scope, seen)
    mine = verdict.holder == site
    if state == GRANTED:
        if reached < len(seen):
            raise RefusedError(
                f"cannot grant {scope} to {site}: {_unreached(seen)}",
                remedy="The first grant wants all stores: repair what is named and run again",
            )
        if verdict.epoch and not mine:
            raise ConflictError(
                f"cannot grant {scope} to {site}: {verdict.reason}",
                remedy="It was granted before; state=held takes it over",
            )
    if not reached or not (enough or force or (mine and verdict.alone)):
        remedy = "Repair what is named and run again"
        if reached:
            remedy += "; with force this site acts alone, which is safe only when the other one is dead or cannot act"
        raise RefusedError(
            f"cannot take {scope} for {site}: {reached} of {len(seen)} stores were reached and {most(len(seen))} are "
            f"needed; {_unreached(seen)}",
            remedy=remedy,
        )
    keeps = mine and (enough or verdict.alone)
    return Claim(verdict.epoch if keeps else verdict.epoch + 1, site, not enough)


def lacking(seen: t.Sequence[Seen], claim: Claim) -> list[str]:
    """Names of the stores that were reached and do not hold *claim*."""
    return [row.store for row in seen if row.reached and row.claim != claim]


def _claims(seen: t.Iterable[Seen]) -> list[Claim]:
    return [row.claim for row in seen if row.reached and row.claim is not None]


def _top(claims: t.Sequence[Claim]) -> tuple[int, list[str]]:
    epoch = max(claim.epoch for claim in claims)
    return epoch, sorted({claim.holder for claim in claims if claim.epoch == epoch})


def _unreached(seen: t.Iterable[Seen]) -> str:
    return "; ".join(f"{row.store}: {row.msg or 'not reached'}" for row in seen if not row.reached)
