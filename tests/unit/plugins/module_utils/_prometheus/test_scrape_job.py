# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a scrape job goes, and which files the main configuration includes (A2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    ConflictError,
    InvalidSpecError,
    NotFoundError,
    RefusedError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._prometheus import _scrape_job
from ansible_collections.onprem.autoscale.plugins.module_utils._prometheus._config import (
    OWNED,
    MainConfig,
    make_folders,
    owned_file,
)

JOB = {"static_configs": [{"targets": ["a:1"]}]}


class FakePrometheus:
    """Knows the jobs that its files say when it was told to reload."""

    def __init__(self, folder: Path, version: str = "3.15.0") -> None:
        self.folder, self.version, self.jobs = folder, version, set[str]()
        self.url = "http://fake"

    def reload(self) -> None:
        words = " ".join(path.read_text() for path in self.folder.rglob("*.yml")).split()
        self.jobs = {words[n + 1] for n, word in enumerate(words) if word == "job_name:"}

    def job_known(self, job: str) -> bool:
        return job in self.jobs

    def config_file(self) -> str:
        return "/etc/other.yml"

    def running_config(self) -> dict[str, Any]:
        return {"scrape_config_files": ["x"]}

    def get(self, path: str) -> dict[str, Any]:
        assert path == "status/buildinfo"
        return {"version": self.version}


@pytest.fixture
def main(tmp_path: Path) -> Path:
    path = tmp_path / "prometheus.yml"
    path.write_text(
        "scrape_configs:\n- job_name: self\nscrape_config_files: [scrape.d/*.yml]\nrule_files: [r/a*.yml]\n"
    )
    (tmp_path / "scrape.d").mkdir()
    return path


def ensure(main: Path, client: FakePrometheus | None = None, **changes: Any) -> dict[str, Any]:
    wish = {"name": "web", "job": JOB, "config_file": str(main), "promtool": "true", **changes}
    return _scrape_job.ensure(
        _scrape_job.ScrapeJob(**wish),
        client or FakePrometheus(main.parent),
        waiter=None,
        check_mode=False,  # type: ignore[arg-type]
    )


def test_auto_takes_the_fragment_where_it_can(main: Path) -> None:
    assert ensure(main)["path"] == str(main.parent / "scrape.d" / "web.yml")
    main.write_text("scrape_configs: []\n")
    assert ensure(main)["method"] == "block"


def test_the_job_moves_both_ways_and_is_never_there_twice(main: Path) -> None:
    first, fragment = main.read_bytes(), main.parent / "scrape.d" / "web.yml"
    ensure(main, method="block")
    assert b"job_name: web" in main.read_bytes()
    assert ensure(main)["changed"]
    assert main.read_bytes() == first
    assert fragment.exists()
    assert ensure(main, method="block")["changed"]
    assert not fragment.exists()
    assert ensure(main, job=None)["changed"]
    assert main.read_bytes() == first


COMPANIONS = [{"job_name": "web-a", **JOB}, {"job_name": "web-b", **JOB}]


@pytest.mark.parametrize("method", ["fragment", "block"])
def test_companions_come_and_go_with_their_job(main: Path, method: str) -> None:
    """One that is not wanted any more goes alone; without the job nothing of it is left."""
    first, client = main.read_bytes(), FakePrometheus(main.parent)
    seen = ensure(main, client, method=method, companions=COMPANIONS)
    assert (seen["changed"], seen["job_name"], seen["companions"]) == (True, "web", ["web-a", "web-b"])
    assert client.jobs == {"self", "web", "web-a", "web-b"}
    assert not ensure(main, client, method=method, companions=COMPANIONS)["changed"]
    assert ensure(main, client, method=method, companions=COMPANIONS[1:])["changed"]
    assert client.jobs == {"self", "web", "web-b"}
    other = "block" if method == "fragment" else "fragment"
    assert ensure(main, client, method=other, companions=COMPANIONS)["changed"]
    assert client.jobs == {"self", "web", "web-a", "web-b"}
    text = "".join(entry["before"] for entry in ensure(main, client, job=None)["diff"])
    assert text.count("job_name:") == 3, "the diff shows all that went"
    assert client.jobs == {"self"}
    assert main.read_bytes() == first
    assert list((main.parent / "scrape.d").iterdir()) == []


def test_companions_of_a_job_whose_name_begins_alike_are_not_ours(main: Path) -> None:
    client = FakePrometheus(main.parent)
    ensure(main, client, name="web", method="block", companions=COMPANIONS)
    ensure(main, client, name="we", method="block", companions=[{"job_name": "we-a", **JOB}])
    ensure(main, client, name="we", method="block", job=None)
    assert client.jobs == {"self", "web", "web-a", "web-b"}


@pytest.mark.parametrize("name", ["self", "web", ""])
def test_a_companion_needs_a_name_that_nobody_has(main: Path, name: str) -> None:
    first = main.read_bytes()
    with pytest.raises((ConflictError, InvalidSpecError), match=f"{name or 'job_name'}"):
        ensure(main, method="block", companions=[{"job_name": name, **JOB}])
    assert main.read_bytes() == first


def test_no_fragments_without_a_pattern(main: Path) -> None:
    main.write_text("scrape_configs: []\n")
    with pytest.raises(NotFoundError, match="scrape_config_files"):
        ensure(main, method="fragment")
    with pytest.raises(InvalidSpecError, match="name of a file"):
        ensure(main, name="a b", method="fragment")
    assert ensure(main, name="a b")["method"] == "block"


def test_a_fragment_of_somebody_else_is_safe(main: Path) -> None:
    theirs = main.parent / "scrape.d" / "web.yml"
    theirs.write_text("scrape_configs: []\n")
    for job in (JOB, None):
        with pytest.raises(RefusedError, match="does not begin with"):
            ensure(main, job=job)
    assert theirs.read_text() == "scrape_configs: []\n"


def test_a_job_of_somebody_else_is_safe(main: Path) -> None:
    with pytest.raises(ConflictError, match="not ours"):
        ensure(main, name="self")


def test_folders_of_targets_are_made_relative_to_the_file_that_names_them(main: Path) -> None:
    """A relative path in a fragment is relative to the fragment (seen on 3.15)."""
    job = {"file_sd_configs": [{"files": ["t/web.json", str(main.parent / "abs" / "x" / "*.json"), "g*/a.json"]}]}
    seen = ensure(main, job=job)
    folders = [main.parent / "scrape.d" / "t", main.parent / "abs", main.parent / "abs" / "x"]
    assert seen["created_directories"] == [str(folder) for folder in folders]
    assert all(folder.is_dir() and folder.stat().st_mode & 0o777 == 0o755 for folder in folders)
    assert ensure(main, job=job)["created_directories"] == []


def test_2_45_shows_no_fragment_without_targets(main: Path) -> None:
    """That version lists neither the job nor its pool yet; that it reads fragments must do."""
    old = FakePrometheus(main.parent, "2.45.0")
    old.job_known = lambda job: False  # type: ignore[method-assign]
    assert ensure(main, old)["changed"]


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("r/*.yml", "r/web.yml", True),
        ("r/a*.yml", "r/web.yml", False),
        ("r/web.yml", "r/web.yml", True),
        ("r/*.yml", "r/sub/web.yml", False),
        ("*/*.yml", "r/web.yml", True),
        ("r/*.yml", "elsewhere/web.yml", False),
        ("/abs/*.rules", "/abs/web.rules", True),
    ],
)
def test_patterns_as_prometheus_reads_them(tmp_path: Path, pattern: str, path: str, expected: bool) -> None:
    config = tmp_path / "prometheus.yml"
    config.write_text(f"rule_files: ['{pattern}']\n")
    assert MainConfig(str(config)).includes("rule_files", tmp_path / path) is expected


def test_main_config_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"p\.yml"):
        MainConfig(str(tmp_path / "p.yml"))
    (tmp_path / "p.yml").write_bytes(b"\xff\xfe")
    with pytest.raises(RefusedError, match="UTF-8"):
        MainConfig(str(tmp_path / "p.yml"))


def test_owned_file(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(f"{OWNED}\ngroups: []\n")
    assert owned_file(tmp_path / "a.yml", tmp_path).before


def test_folders_in_check_mode_are_only_named(tmp_path: Path) -> None:
    assert make_folders([tmp_path / "a" / "b"], check_mode=True) == [str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    assert not (tmp_path / "a").exists()
