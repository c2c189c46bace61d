# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the emulated DSM refuses, and how it reads versions and quantities."""

from __future__ import annotations

from typing import Any

import pytest

from lab.dsm.admission import LOCK, DeniedError, expand_version, quantity, refuse_locked, refuse_shrink

CATALOGUE = ["18.4+vmware.v9.1.0", "16.10+vmware.v9.1.0", "16.8+vmware.v9.1.0", "1.8+vmware.v9.1.0"]
CLASSES = {
    "small": {"cpu": "2", "memory": "4Gi"},
    "tall": {"cpu": "2000m", "memory": "16Gi"},
    "wide": {"cpu": "8", "memory": "4096Mi"},
}


def cluster(label: str | None = None, **spec: Any) -> dict[str, Any]:
    labels = {} if label is None else {"labels": {LOCK: label}}
    found = {"replicas": 1, "storageSpace": "1Ti", "vmClass": {"name": "small"}, **spec}
    return {"metadata": {"name": "docs", **labels}, "spec": found}


@pytest.mark.parametrize(
    ("text", "number"),
    [("4", 4), (4, 4), ("500m", 0.5), ("1Ti", 1024**4), ("1T", 10**12), ("1.5Gi", 1.5 * 1024**3), ("2k", 2000)],
)
def test_quantities_are_compared_as_numbers(text, number):
    assert quantity(text) == number


def test_what_is_no_quantity_is_named():
    with pytest.raises(DeniedError, match="'4GB'"):
        quantity("4GB")


@pytest.mark.parametrize(
    ("wanted", "full"),
    [
        ("18", "18.4+vmware.v9.1.0"),
        ("18.4", "18.4+vmware.v9.1.0"),
        ("16", "16.10+vmware.v9.1.0"),
        ("16.8", "16.8+vmware.v9.1.0"),
        ("16.8+vmware.v9.1.0", "16.8+vmware.v9.1.0"),
    ],
)
def test_a_short_version_is_the_newest_that_it_begins(wanted, full):
    assert expand_version(wanted, CATALOGUE) == full


@pytest.mark.parametrize("wanted", ["12", "16.9", "16.1", "1.80"])
def test_a_version_is_not_cut_within_a_number(wanted):
    with pytest.raises(DeniedError, match="is not supported; supported versions: 18"):
        expand_version(wanted, CATALOGUE)


def test_a_version_that_fits_stays_though_there_is_a_newer_one():
    assert expand_version("16", CATALOGUE, "16.8+vmware.v9.1.0") == "16.8+vmware.v9.1.0"
    assert expand_version("18", CATALOGUE, "16.8+vmware.v9.1.0") == "18.4+vmware.v9.1.0"


@pytest.mark.parametrize(
    "after",
    [
        {"replicas": 1},
        {"replicas": 3},
        {"storageSpace": "1024Gi"},
        {"storageSpace": "2Ti"},
        {"vmClass": {"name": "tall"}},
        {"vmClass": {"name": "wide"}},
    ],
)
def test_growing_is_admitted(after):
    refuse_shrink(cluster(), cluster(**after), CLASSES)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"replicas": 3}, {"replicas": 1}, "from 3 to 1"),
        ({}, {"storageSpace": "1T"}, "from 1Ti to 1T"),
        ({"vmClass": {"name": "tall"}}, {"vmClass": {"name": "wide"}}, "'wide' has less memory than 'tall'"),
        ({"vmClass": {"name": "wide"}}, {"vmClass": {"name": "tall"}}, "'tall' has less cpu than 'wide'"),
    ],
)
def test_shrinking_is_denied(before, after, words):
    with pytest.raises(DeniedError, match=words) as caught:
        refuse_shrink(cluster(**before), cluster(**after), CLASSES)
    assert caught.value.code == 403


def test_a_class_that_was_removed_does_not_hold_its_cluster():
    refuse_shrink(cluster(vmClass={"name": "gone"}), cluster(), CLASSES)


@pytest.mark.parametrize(
    ("label", "operation", "denied"),
    [
        (None, "UPDATE", False),
        (None, "DELETE", False),
        ("locked", "UPDATE", True),
        ("locked", "DELETE", True),
        ("unlocked-for-edit", "UPDATE", False),
        ("unlocked-for-edit", "DELETE", True),
        ("unlocked-for-delete", "UPDATE", False),
        ("unlocked-for-delete", "DELETE", False),
    ],
)
def test_the_lock(label, operation, denied):
    old, new = cluster(label), cluster("unlocked-for-edit", replicas=3)  # unlocking and changing at once is too fast
    if denied:
        with pytest.raises(DeniedError, match="'docs' is"):
            refuse_locked(operation, old, new)
    else:
        refuse_locked(operation, old, new)


def test_labels_of_a_locked_cluster_may_be_changed():
    refuse_locked("UPDATE", cluster("locked"), cluster("unlocked-for-edit"))
