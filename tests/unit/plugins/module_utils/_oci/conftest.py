# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry on loopback, a wish for what it holds, and the folder that it goes to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.kit.blob_server import BlobServer

from ansible_collections.onprem.autoscale.plugins.module_utils._oci import _fetch, _pull
from ansible_collections.onprem.autoscale.plugins.module_utils._oci._manifest import Reference

OPEN = {"username": None, "password": None, "plain_http": True, "validate_certs": True, "ca_path": None}


@pytest.fixture
def server() -> Iterator[BlobServer]:
    with BlobServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries nobody sleeps."""
    monkeypatch.setattr(_fetch.Effort, "pause", lambda effort, seconds: effort.check())
    monkeypatch.setattr("ansible_collections.onprem.autoscale.plugins.module_utils._common._http.BACKOFF_S", 0.0)


@pytest.fixture
def pull(tmp_path: Path) -> Callable[..., _pull.Outcome]:
    """``pull(reference, check_mode=False, **changes)`` into ``tmp_path / "model"``."""

    def call(reference: str, check_mode: bool = False, **changes: Any) -> _pull.Outcome:
        connection = {**OPEN, **{name: changes.pop(name) for name in tuple(changes) if name in OPEN}}
        wish = {"path": str(tmp_path / "model"), "jobs": 2, "keep": 2, "timeout": 60.0, **changes}
        return _pull.pull(
            _pull.Wish(reference=Reference.parse(reference), connection=connection, **wish), check_mode=check_mode
        )

    return call
