# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D6: the record of an epoch in one store, and several stores asked at once."""

from __future__ import annotations

import itertools
import socket
import threading

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger, ask_stores


def test_a_record_tells_who_when_and_why(ledger, clock):
    assert ledger.epoch("shop") is None
    assert ledger.write_epoch("shop", 3, "b", alone=True, by="host/1", reason="site a burns")
    assert ledger.epoch("shop") == {
        "scope": "shop",
        "epoch": 3,
        "holder": "b",
        "alone": True,
        "granted_at": clock(),
        "by": "host/1",
        "reason": "site a burns",
    }
    assert ledger.epoch("other") is None


def test_the_same_again_keeps_when_and_why_and_only_sets_alone(ledger, clock):
    ledger.write_epoch("shop", 3, "b", alone=True, by="host/1", reason="first")
    at = clock()
    clock.tick(60)
    assert not ledger.write_epoch("shop", 3, "b", alone=True, by="host/2", reason="again")
    assert ledger.write_epoch("shop", 3, "b", alone=False, by="host/2", reason="again")
    found = ledger.epoch("shop")
    assert (found["alone"], found["granted_at"], found["by"], found["reason"]) == (False, at, "host/1", "first")


def test_an_epoch_is_never_lowered_and_never_shared(ledger):
    """Every record met by every other one: as the planner's model of a store has it."""
    records = list(itertools.product((1, 2), "ab", (False, True)))
    for number, (old, new) in enumerate(itertools.product(records, records)):
        scope = f"s{number}"
        ledger.write_epoch(scope, old[0], old[1], alone=old[2])
        if old[0] < new[0] or old[:2] == new[:2]:
            assert ledger.write_epoch(scope, new[0], new[1], alone=new[2]) is (old != new)
            kept = new
        else:
            with pytest.raises(ConflictError, match=rf"{old[1]} has had epoch {old[0]} since") as told:
                ledger.write_epoch(scope, new[0], new[1], alone=new[2])
            assert told.value.result["record"]["holder"] == old[1]
            kept = old
        found = ledger.epoch(scope)
        assert (found["epoch"], found["holder"], found["alone"]) == kept


@pytest.mark.parametrize(("epoch", "holder"), [(0, "a"), (1, "")])
def test_an_epoch_of_nobody_is_a_mistake_of_the_caller(ledger, epoch, holder):
    with pytest.raises(ValueError, match="at least 1 and has a holder"):
        ledger.write_epoch("shop", epoch, holder)


def test_racing_sites_never_share_an_epoch(ledger, url):
    """Both take epoch 1 at once: one has it, the other one is told."""
    gate, told = threading.Barrier(2), []

    def take(site):
        gate.wait(30)
        (answer,) = ask_stores(
            {"one": url}, lambda store: store.write_epoch("shop", 1, site), timeout=30, look_only=False
        ).values()
        told.append((site, answer.error))

    racers = [threading.Thread(target=take, args=(site,)) for site in "ab"]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    errors = {site: error for site, error in told if error}
    (loser,) = errors
    assert ledger.epoch("shop")["holder"] != loser
    assert "has had epoch 1 since" in str(errors[loser])


def test_a_frozen_and_a_dead_store_are_given_up_and_the_others_answer(sqlite_url):
    """A server that takes the connection and says nothing keeps no limit of its own."""
    with Ledger.open(sqlite_url) as ledger:
        ledger.write_epoch("shop", 1, "a")
    with socket.create_server(("127.0.0.1", 0)) as frozen, socket.create_server(("127.0.0.1", 0)) as closed:
        dead = closed.getsockname()[1]
        closed.close()
        stores = {
            "frozen1": f"postgresql+psycopg://u@127.0.0.1:{frozen.getsockname()[1]}/x",
            "frozen2": f"postgresql+psycopg://u@127.0.0.1:{frozen.getsockname()[1]}/y",
            "dead": f"postgresql+psycopg://u:secret@127.0.0.1:{dead}/x",
            "good": sqlite_url,
        }
        found = ask_stores(stores, lambda store: store.epoch("shop"), timeout=2.0, look_only=True)
    assert list(found) == list(stores)
    assert found["good"].value["holder"] == "a"
    assert "did not answer within 2 s" in str(found["frozen1"].error)
    assert "did not answer within 2 s" in str(found["frozen2"].error)
    assert "refused" in str(found["dead"].error)
    assert "secret" not in str(found["dead"].error)
