# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``dr_backup`` (D2): what there is to restore from changes in one piece, and only when all parts succeeded.

The tests are chapters of one story, in their order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.recovery_lab import Recovery

from lab.harbor.spawn import Harbor

FIRST, SECOND, SETTINGS = "backup_models:first", "backup_models:second", "backup_settings:settings"
GROUP = "a/groups/web.yml"


class Story:
    """Two Harbors, and a plan that copies two projects from the one to the other, and keeps a group's declaration."""

    def __init__(self, folder: Path, here: Harbor, there: Harbor) -> None:
        self.here, self.there = here, there
        rows = {"a": here.row, "b": there.row}
        sites = {
            site: {"harbor": {"url": row["url"], "ca_path": row["ca"], **{k: row[k] for k in ("username", "password")}}}
            for site, row in rows.items()
        }
        self.settings = folder / "settings"
        groups = folder / "groups"
        groups.mkdir()
        (groups / "web.yml").write_text("name: web\n")
        sites["a"]["scaling_groups_dir"] = str(groups)
        self.recovery = Recovery(folder, sites)
        self.first = self.manifest = {}

    def declare(self, second: str = "**") -> None:
        self.recovery.write_plan(
            [
                {"name": "first", "kind": "models", "project": "llama"},
                {"name": "second", "kind": "models", "project": "embed", "filter": second},
                {"name": "settings", "kind": "settings", "folder": str(self.settings)},
            ]
        )

    def copied(self) -> set[tuple[str, str]]:
        return {(repository, tag) for repository, tag, _digest in self.there.artifacts()}

    def states(self) -> dict[str, str]:
        with contextlib.suppress(ValueError):  # it is being written
            return {row["name"]: row["state"] for run in self.recovery.journals() for row in run["steps"]}
        return {}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with Harbor.temporary() as here, Harbor.temporary() as there:
        here.seed("llama/small", "1", "weights")
        here.seed("embed/minilm", "1", "vectors")
        yield Story(tmp_path_factory.mktemp("backup"), here, there)


def test_models_are_at_the_other_site_settings_are_files_and_the_manifest_says_so(story: Story) -> None:
    story.declare()
    rc, output = story.recovery.run("dr_backup")
    assert rc == 0, output
    assert story.copied() == {("llama/small", "1"), ("embed/minilm", "1")}
    manifest = story.recovery.manifest()
    assert [(row["service"], row["total"] > 0, row["to"]) for row in manifest["models"]] == [
        ("first", True, "b"),
        ("second", True, "b"),
    ]
    assert f"to be committed: {GROUP}" in output
    assert manifest["settings"]["files"] == [GROUP]
    assert (story.settings / GROUP).read_text() == "name: web\n"
    report = story.recovery.report()
    assert (report["kind"], report["result"], report["run"]) == ("backup", "done", manifest["run"])
    story.manifest = manifest


def test_a_copy_that_matched_nothing_is_a_failed_backup_and_the_old_one_stays(story: Story) -> None:
    story.declare(second="gone/**")
    rc, output = story.recovery.run("dr_backup")
    assert rc != 0, output
    assert f"of {story.manifest['taken_at']}" in output, "what there is to restore from is told"
    assert f"This run has {FIRST}" in output
    assert story.recovery.manifest() == story.manifest
    assert story.states() == {FIRST: "done", SECOND: "failed", SETTINGS: "pending"}
    story.first = _step(story.recovery.journals()[0], FIRST)


def test_a_kill_in_the_middle_leaves_the_old_manifest_and_the_next_run_goes_on(story: Story) -> None:
    story.declare()
    story.recovery.killed("dr_backup", lambda: story.states().get(SECOND) == "running")
    assert story.recovery.manifest() == story.manifest
    rc, output = story.recovery.run("dr_backup")
    assert rc == 0, output
    assert "none changed" in output
    assert story.recovery.journals() == []
    report, manifest = story.recovery.report(), story.recovery.manifest()
    assert manifest["run"] == report["run"] != story.manifest["run"]
    assert [row["service"] for row in manifest["models"]] == ["first", "second"]
    assert _step(report, FIRST)["ended_at"] == story.first["ended_at"], "what was done is not done again"


def _step(run: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in run["steps"] if row["name"] == name)
