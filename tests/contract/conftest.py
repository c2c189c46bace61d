# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What contract tests share: one DSM emulator whose clusters only say that they are ready."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from contract.dsm_kit import Site, manifest

from lab.dsm.spawn import Dsm


@pytest.fixture(scope="session")
def dsm_site() -> Iterator[Site]:
    with Dsm.temporary(controller="fake") as dsm:
        yield Site(dsm)


@pytest.fixture(scope="session")
def dsm_manifest() -> Any:
    return manifest
