# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D6: site_epoch over several stores, with what gets lost in between."""

from __future__ import annotations

import importlib

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger, LedgerError

MODULE = importlib.import_module("ansible_collections.onprem.autoscale.plugins.action.site_epoch")


class Stores:
    """Three stores, of which a test cuts some off: from looks, from writes, or after so many writes."""

    def __init__(self, folder, run, monkeypatch):
        self.urls = {name: f"sqlite:///{folder}/{name}/ledger.db" for name in ("a", "b", "witness")}
        self.run = run
        self.cut, self.cut_writes, self.killed_after = set(), set(), None
        self.asked = []
        self._ask = MODULE.ask_stores
        monkeypatch.setattr(MODULE, "ask_stores", self.ask)

    def ask(self, stores, call, *, timeout, look_only):
        """As the real one, less the stores that are cut off."""
        writing = call.__name__ == "write"
        lost = {**dict.fromkeys(self.cut & stores.keys(), ""), **dict.fromkeys(self.cut_writes if writing else (), "")}
        self.asked += [("write" if writing else "look", sorted(stores.keys() - lost.keys()), look_only)]
        there = {name: url for name, url in stores.items() if name not in lost}
        if writing and self.killed_after is not None:
            there = dict(list(there.items())[: self.killed_after])
            self._ask(there, call, timeout=timeout, look_only=look_only)
            raise KeyboardInterrupt
        found = self._ask(there, call, timeout=timeout, look_only=look_only)
        gone = MODULE.Answer(error=LedgerError("cannot read the ledger: the cable is cut", remedy="Mend it"))
        return {name: found.get(name, gone) for name in stores}

    def __call__(self, state, site="a", *, check_mode=False, diff=False, **args):
        args = {"scope": "shop", "site": site, "stores": self.urls, "state": state, **args}
        return self.run("site_epoch", args, check_mode=check_mode, diff=diff)

    def held(self):
        """``epoch holder`` by store."""
        found = {}
        for name, url in self.urls.items():
            with Ledger.open(url, look_only=True) as ledger:
                row = ledger.epoch("shop")
            found[name] = f"{row['epoch']} {row['holder']}{' alone' if row['alone'] else ''}" if row else ""
        return list(found.values())


@pytest.fixture
def stores(tmp_path, run, monkeypatch):
    return Stores(tmp_path, run, monkeypatch)


def test_granted_checked_held_and_back(stores):
    granted = stores("granted", reason="first")
    assert (granted["changed"], granted["may_act"], granted["epoch"], granted["holder"]) == (True, True, 1, "a")
    assert {row["reason"] for row in granted["stores"]} == {"first"}
    assert not stores("granted")["changed"]
    assert not stores("held")["changed"]
    taken = stores("held", "b", reason="a burns")
    assert (taken["changed"], taken["may_act"], taken["epoch"]) == (True, True, 2)
    assert stores.held() == ["2 b"] * 3
    lost = stores("checked")
    assert (lost["changed"], lost["may_act"], lost["epoch"], lost["holder"]) == (False, False, 2, "b")
    assert lost["reason"] == "epoch 2 of shop is held by b, not by a"
    assert stores("held", "a")["epoch"] == 3


def test_check_mode_says_what_would_be_and_makes_no_store(stores, tmp_path):
    found = stores("granted", check_mode=True, diff=True)
    assert (found["changed"], found["may_act"], found["epoch"]) == (True, True, 1)
    assert found["diff"]["before"] == dict.fromkeys(stores.urls, "nothing")
    assert found["diff"]["after"] == dict.fromkeys(stores.urls, "1 a")
    assert not any((tmp_path / name).exists() for name in stores.urls)
    stores("granted")
    assert stores("held", "b", check_mode=True, diff=True)["diff"]["after"] == dict.fromkeys(stores.urls, "2 b")
    assert stores.held() == ["1 a"] * 3
    stores("checked")
    assert all(look_only for kind, _names, look_only in stores.asked[-1:])


def test_the_first_grant_wants_every_store(stores):
    stores.cut = {"witness"}
    found = stores("granted")
    assert found["failed"]
    assert "cannot grant shop to a: witness: cannot read the ledger: the cable is cut. Mend it" in found["msg"]
    assert stores.held() == ["", "", ""]


def test_a_takeover_needs_most_of_the_stores_and_heals_the_rest_later(stores):
    stores("granted")
    stores.cut = {"a"}
    taken = stores("held", "b")
    assert (taken["changed"], taken["may_act"], taken["epoch"]) == (True, True, 2)
    assert stores.held() == ["1 a", "2 b", "2 b"]
    assert "store a does not have epoch 2 of shop yet: cannot read the ledger" in taken["warnings"][0]
    assert not stores("held", "b")["changed"]
    stores.cut = set()
    assert not stores("checked", "a")["may_act"]
    healed = stores("held", "b")
    assert (healed["changed"], healed["epoch"], stores.held()) == (True, 2, ["2 b"] * 3)


def test_without_most_of_the_stores_nothing_is_written_and_force_says_so(stores):
    stores("granted")
    stores.cut = {"a", "witness"}
    refused = stores("held", "b")
    assert refused["failed"]
    assert "cannot take shop for b: 1 of 3 stores were reached and 2 are needed; a: cannot read" in refused["msg"]
    assert "with force this site acts alone" in refused["msg"]
    assert stores.held() == ["1 a"] * 3
    forced = stores("held", "b", force=True, reason="a and the witness burn")
    assert (forced["may_act"], forced["alone"], stores.held()) == (True, True, ["1 a", "2 b alone", "1 a"])
    assert not stores("held", "b")["changed"], "a resumed run needs no second word"
    stores.cut = set()
    assert not stores("checked", "a")["may_act"]
    back = stores("held", "b")
    assert (back["epoch"], back["alone"], stores.held()) == (2, False, ["2 b"] * 3)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_killed_between_two_writes_the_same_again_finishes_the_same_epoch(stores, after):
    stores("granted")
    stores.killed_after = after
    with pytest.raises(KeyboardInterrupt):
        stores("held", "b")
    acting = [site for site in "ab" if stores("checked", site)["may_act"]]
    assert acting == {0: ["a"], 1: [], 2: ["b"]}[after]
    stores.killed_after = None
    assert stores("held", "b")["epoch"] == 2
    assert stores.held() == ["2 b"] * 3


def test_stores_that_are_lost_while_it_writes(stores):
    """The error says what stands; the same again finishes it."""
    stores("granted")
    stores.cut_writes = {"a", "witness"}
    failed = stores("held", "b")
    assert failed["failed"]
    assert failed["changed"]
    assert "epoch 2 of shop does not stand for b yet: a: cannot read the ledger: the cable is cut" in failed["msg"]
    assert [row["reached"] for row in failed["stores"]] == [False, True, False]
    assert not any(stores("checked", site)["may_act"] for site in "ab")
    forced = stores("held", "b", force=True)
    assert (forced["may_act"], forced["alone"], stores.held()[1]) == (True, True, "2 b alone")
    stores.cut_writes = set()
    assert stores("held", "b")["epoch"] == 2
    assert stores.held() == ["2 b"] * 3


def test_who_took_it_meanwhile_is_told(stores, monkeypatch):
    """Another site takes the same epoch between the look and the writing."""
    stores("granted")
    real = MODULE.epoch_wanted

    def late(*args, **kwargs):
        claim = real(*args, **kwargs)
        with Ledger.open(stores.urls["witness"]) as ledger:
            ledger.write_epoch("shop", 2, "c")
        return claim

    monkeypatch.setattr(MODULE, "epoch_wanted", late)
    found = stores("held", "b")
    assert found["failed"]
    assert "witness: b cannot have epoch 2 of shop in the ledger sqlite:" in found["msg"]
    assert "c has had epoch 2 since" in found["msg"]
    monkeypatch.setattr(MODULE, "epoch_wanted", real)
    assert "names b and c" in stores("checked", "b")["reason"]
    assert stores("held", "b")["epoch"] == 3


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"site": ""}, "site: value is ''; allowed: a name"),
        ({"scope": "a b"}, "scope: value is 'a b'; allowed: a name"),
        ({"stores": {}}, "stores: value is {}; allowed: at least one"),
        ({"stores": {"a": ""}}, "stores.a: there is no URL"),
        ({"stores": {"a": "sqlite:////x", "b": "sqlite:////x"}}, "stores.b: is the same ledger as a"),
        ({"wait_timeout": 0}, "wait_timeout: value is 0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_store_is_asked(stores, args, words):
    found = stores("checked", **args)
    assert found["failed"]
    assert words in found["msg"]
    assert stores.asked == []


def test_no_store_at_all_says_why(stores):
    stores.cut = set(stores.urls)
    found = stores("checked")
    assert (found["may_act"], found["epoch"], found["holder"]) == (False, 0, "")
    assert found["reason"].count("the cable is cut") == 3
    assert "0 of 3 stores were reached" in stores("held", force=True)["msg"]
