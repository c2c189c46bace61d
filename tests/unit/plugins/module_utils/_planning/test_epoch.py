# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D6: who may act, and who may take; by example, and every order of takings over every partition in a small world."""

from __future__ import annotations

import functools
import itertools
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    AutoscaleError,
    ConflictError,
    RefusedError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    EpochClaim,
    EpochSeen,
    epoch_lacking,
    epoch_verdict,
    epoch_wanted,
)

SITES = ("a", "b")
World: t.TypeAlias = "tuple[EpochClaim | None, ...]"
A1, B2 = EpochClaim(1, "a"), EpochClaim(2, "b")


def look(claims: t.Sequence[EpochClaim | None], reached: t.Collection[int] | None = None) -> list[EpochSeen]:
    """What a site sees that reaches the stores with these numbers; all of them by default."""
    numbers = range(len(claims)) if reached is None else reached
    return [
        EpochSeen(f"s{number}", True, claim) if number in numbers else EpochSeen(f"s{number}", False, msg="refused")
        for number, claim in enumerate(claims)
    ]


# ---- by example


@pytest.mark.parametrize(
    ("claims", "reached", "may", "words"),
    [
        ([A1, A1, A1], (0, 1, 2), True, "epoch 1 of shop is held by a"),
        ([A1, A1, A1], (0, 2), True, "held by a"),
        ([A1, A1, A1], (0,), False, "only 1 of 3 stores show that, where 2 are needed: s1: refused; s2: refused"),
        ([A1, A1], (0,), False, "only 1 of 2 stores"),
        ([A1, B2, A1], (0, 1, 2), False, "epoch 2 of shop is held by b, not by a"),
        ([EpochClaim(2, "a"), A1, A1], (0, 1, 2), False, "only 1 of 3 stores show that, where 2 are needed: take it"),
        ([EpochClaim(2, "a", True), A1], (0,), True, "alone: it was forced"),
        ([EpochClaim(2, "a", True), B2], (0, 1), False, "names a and b, so nobody may act until one takes the next"),
        ([None, None], (0, 1), False, "nobody was granted shop"),
        ([A1, A1], (), False, "s0: refused; s1: refused"),
    ],
)
def test_who_may_act(claims, reached, may, words):
    verdict = epoch_verdict("a", "shop", look(claims, reached))
    assert verdict.may_act is may
    assert words in verdict.reason


def test_a_taking_writes_the_next_epoch_to_all_that_were_reached():
    seen = look([A1, A1, A1], (1, 2))
    claim = epoch_wanted("held", "b", "shop", seen)
    assert claim == B2
    assert epoch_lacking(seen, claim) == ["s1", "s2"]


@pytest.mark.parametrize("state", ["held", "granted"])
def test_a_taking_that_was_cut_off_is_finished_with_its_own_epoch(state):
    """And one that stands already changes nothing."""
    seen = look([EpochClaim(1, "a"), None, None])
    assert epoch_wanted(state, "a", "shop", seen) == A1
    assert epoch_lacking(seen, A1) == ["s1", "s2"]
    assert epoch_lacking(look([A1, A1, A1]), epoch_wanted(state, "a", "shop", look([A1, A1, A1]))) == []


def test_two_that_took_the_same_epoch_are_told_apart_by_the_next_one():
    assert epoch_wanted("held", "a", "shop", look([EpochClaim(2, "a"), B2])) == EpochClaim(3, "a")


def test_too_few_stores_are_refused_unless_a_person_forces():
    seen = look([A1, A1], (1,))
    with pytest.raises(RefusedError, match=r"1 of 2 stores were reached and 2 are needed; s0: refused.*force"):
        epoch_wanted("held", "b", "shop", seen)
    claim = epoch_wanted("held", "b", "shop", seen, force=True)
    assert claim == EpochClaim(2, "b", True)
    again = look([A1, claim], (1,))
    assert epoch_wanted("held", "b", "shop", again) == claim, "the same again burns no epoch and needs no force"
    assert epoch_wanted("held", "b", "shop", look([A1, claim])) == B2, "no longer alone, once most are reached"
    with pytest.raises(RefusedError, match="0 of 2 stores"):
        epoch_wanted("held", "b", "shop", look([A1, A1], ()), force=True)


def test_a_grant_wants_every_store_and_nobody_before_it():
    assert epoch_wanted("granted", "a", "shop", look([None, None])) == A1
    with pytest.raises(RefusedError, match="The first grant wants all stores"):
        epoch_wanted("granted", "a", "shop", look([None, None, None], (0, 1)), force=True)
    with pytest.raises(ConflictError, match="epoch 2 of shop is held by b, not by a"):
        epoch_wanted("granted", "a", "shop", look([B2, B2]))


# ---- any stores that there can be

claims_of_any = st.none() | st.builds(EpochClaim, st.integers(1, 4), st.sampled_from("abc"), st.booleans())


@given(st.lists(claims_of_any, min_size=1, max_size=5), st.data())
def test_whoever_may_act_is_named_by_the_highest_epoch_that_it_sees(claims, data):
    reached = data.draw(st.sets(st.sampled_from(range(len(claims)))))
    verdict = epoch_verdict("a", "shop", look(claims, reached))
    shown = [claims[number] for number in reached if claims[number]]
    assert verdict.epoch == max((claim.epoch for claim in shown), default=0)
    tops = [claim for claim in shown if claim.epoch == verdict.epoch]
    if verdict.may_act:
        assert {claim.holder for claim in tops} == {"a"}
        assert len(tops) * 2 > len(claims) or any(claim.alone for claim in tops)
    for other in "bc":
        theirs = epoch_verdict(other, "shop", look(claims, reached))
        assert not (verdict.may_act and theirs.may_act), "who sees the same never acts together"


@given(st.lists(claims_of_any, min_size=1, max_size=5), st.sampled_from("ab"), st.booleans(), st.data())
def test_a_taking_that_ends_may_act_and_a_second_one_changes_nothing(claims, site, force, data):
    reached = data.draw(st.sets(st.sampled_from(range(len(claims)))))
    try:
        claim = epoch_wanted("held", site, "shop", look(claims, reached), force=force)
    except RefusedError:
        assert not reached or (not force and len(reached) * 2 <= len(claims))
        return
    assert all(claims[n] is None or write(claims[n], claim) for n in reached), "every store that was seen takes it"
    after = [claim if number in reached else old for number, old in enumerate(claims)]
    assert epoch_verdict(site, "shop", look(after, reached)).may_act
    assert epoch_wanted("held", site, "shop", look(after, reached), force=force) == claim


# ---- a small world, all of it


def write(old: EpochClaim | None, new: EpochClaim) -> EpochClaim | None:
    """As a store compares; None: refused. ``test_epochs.py`` proves that the ledger does the same."""
    if old is None or old.epoch < new.epoch or (old.epoch, old.holder) == (new.epoch, new.holder):
        return new
    return None


@functools.lru_cache(None)
def verdict_of(site: str, claims: World, reached: tuple[int, ...]) -> t.Any:
    return epoch_verdict(site, "shop", look(claims, reached))


@functools.lru_cache(None)
def taking(
    site: str, claims: World, reached: tuple[int, ...], force: bool
) -> tuple[EpochClaim, tuple[int, ...]] | None:
    """What it would write and where; None: refused."""
    seen = look(claims, reached)
    try:
        claim = epoch_wanted("held", site, "shop", seen, force=force)
    except AutoscaleError:
        return None
    return claim, tuple(int(name[1:]) for name in epoch_lacking(seen, claim))


def subsets(items: t.Sequence[int]) -> list[tuple[int, ...]]:
    return [x for size in range(len(items) + 1) for x in itertools.combinations(items, size)]


#: What a site that looked is about to write, where still, and whether it was forced; None: nothing.
Pending: t.TypeAlias = "tuple[EpochClaim, tuple[int, ...], bool] | None"


def worlds(stores: int, highest: int, *, force: bool) -> set[World]:
    """All that can come about: either site looks at what it reaches; the other one may take, too, before it writes; it
    writes to any of the stores and is killed there, or loses the others."""
    views = subsets(range(stores))
    starts: list[tuple[World, Pending, Pending]] = [
        ((claim,) * stores, None, None) for claim in ((A1,) if force else (None, A1))
    ]
    todo, known = [*starts], {*starts}

    def add(claims: World, pending: list[t.Any]) -> None:
        state = (claims, pending[0], pending[1])
        if state not in known:
            known.add(state)
            todo.append(state)

    while todo:
        claims, *pending = todo.pop()
        for index, site in enumerate(SITES):
            plans: list[Pending] = list(pending)
            if plans[index] is None:
                for reached, forced in itertools.product(views, (False, True) if force else (False,)):
                    found = taking(site, claims, reached, forced)
                    if found and found[1] and found[0].epoch <= highest:
                        plans[index] = (*found, forced)
                        add(claims, plans)
                continue
            claim, left, forced = t.cast(t.Any, plans[index])
            plans[index] = None
            add(claims, plans)  # killed
            for number in left:
                after = write(claims[number], claim)
                if after is None:
                    continue  # told, and it stops
                rest = tuple(other for other in left if other != number)
                plans[index] = (claim, rest, forced) if rest else None
                changed = (*claims[:number], after, *claims[number + 1 :])
                add(changed, plans)
                if forced and not claim.alone:
                    # The others were lost meanwhile: what stands is made to say so.
                    alone = EpochClaim(claim.epoch, claim.holder, True)
                    plans[index] = None
                    add(tuple(alone if row == claim else row for row in changed), plans)
    return {state[0] for state in known}


def both(claims: World) -> t.Iterator[tuple[t.Any, t.Any]]:
    """The verdicts of both sites, for each partition in which both may act."""
    views = subsets(range(len(claims)))
    for mine, theirs in itertools.product(views, views):
        a, b = verdict_of("a", claims, mine), verdict_of("b", claims, theirs)
        if a.may_act and b.may_act:
            yield a, b


@pytest.mark.parametrize(("stores", "highest"), [(2, 5), (3, 4)])
def test_without_force_two_sites_never_both_act(stores, highest):
    """D6: whatever is cut from what, whoever is killed between two writes, whoever takes at the same time."""
    found = worlds(stores, highest, force=False)
    assert len(found) > 20
    assert {claim.holder for claims in found for claim in claims if claim} == set(SITES)
    for claims in found:
        assert not list(both(claims)), claims


@pytest.mark.parametrize(("stores", "highest"), [(2, 4), (3, 2)])
def test_force_lets_both_act_only_where_they_do_not_see_each_other(stores, highest):
    """D6, and its bound: with two stores both were forced; with three the one without most of them was.

    Once they see each other, at most one acts, and nobody where both have the same epoch, until one takes the next.
    """
    found = worlds(stores, highest, force=True)
    everything = tuple(range(stores))
    clashes = 0
    for claims in found:
        for a, b in both(claims):
            clashes += 1
            assert a.alone or b.alone
            if stores == 2:
                assert a.alone
                assert b.alone
            healed = [verdict_of(site, claims, everything) for site in SITES]
            assert not all(verdict.may_act for verdict in healed)
            if a.epoch == b.epoch:
                assert not any(verdict.may_act for verdict in healed)
                claim, lacking = t.cast(t.Any, taking("a", claims, everything, False))
                assert claim.epoch > a.epoch
                taken = tuple(claim if number in lacking else row for number, row in enumerate(claims))
                assert [verdict_of(site, taken, everything).may_act for site in SITES] == [True, False]
    assert clashes, "the model shows the bound that the documentation tells of"
