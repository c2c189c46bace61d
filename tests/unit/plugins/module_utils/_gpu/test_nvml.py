# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the answers about a licence mean, and which silence is no error. The real pynvml: tests/integration (B1)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError, BackendDownError
from ansible_collections.onprem.autoscale.plugins.module_utils._gpu import _nvml

DATE = {"year": 2027, "month": 1, "day": 31, "hour": 12, "min": 0, "sec": 5}
NEVER = SimpleNamespace(status=0)


def feature(state: int, enabled: int = 1, expiry: Any = NEVER) -> SimpleNamespace:
    return SimpleNamespace(featureState=state, featureEnabled=enabled, licenseExpiry=expiry)


def features(*rows: SimpleNamespace, supported: int = 1) -> SimpleNamespace:
    spare = [feature(1)] * (3 - len(rows))  # what lies behind the count must not be read
    return SimpleNamespace(
        isGridLicenseSupported=supported, licensableFeaturesCount=len(rows), gridLicensableFeatures=[*rows, *spare]
    )


@pytest.mark.parametrize(
    ("answer", "mode", "meaning"),
    [
        (None, 2, (None, None)),
        (features(supported=0), 2, (None, None)),
        (features(feature(0)), 2, (False, None)),
        (features(feature(1)), 2, (True, None)),
        (features(), 2, (False, None)),
        (features(feature(0, enabled=0)), 2, (False, None)),
        (features(feature(0, enabled=0)), 1, (None, None)),
        (features(feature(0, enabled=0)), None, (None, None)),
        (features(feature(0)), 1, (False, None)),
        (features(feature(1, enabled=0), feature(0)), 2, (False, None)),
        (features(feature(1, expiry=SimpleNamespace(status=4))), 2, (True, "permanent")),
        (features(feature(1, expiry=SimpleNamespace(status=2, **DATE))), 2, (True, "2027-01-31T12:00:05Z")),
        (features(feature(1, expiry=SimpleNamespace(status=1, **DATE))), 2, (True, None)),
    ],
)
def test_a_licence_is_there_asked_for_or_not_needed(answer: Any, mode: int | None, meaning: tuple[Any, Any]) -> None:
    assert _nvml._license(answer, mode) == meaning


@pytest.mark.parametrize("code", [3, 4, 13, 25])
def test_silence_is_null(code: int) -> None:
    def ask() -> None:
        raise pynvml.NVMLError(code)

    assert _nvml._may("the memory of GPU 0", ask) is None


@pytest.mark.parametrize("code", [15, 16, 999])
def test_a_gpu_that_is_lost_is_an_error(code: int) -> None:
    def ask() -> None:
        raise pynvml.NVMLError(code)

    with pytest.raises(BackendDownError, match="NVML does not tell the memory of GPU 0"):
        _nvml._may("the memory of GPU 0", ask)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (12, "is not there. Install the driver"),
        (13, "is too old"),
        (18, "of different versions of the driver. .* restart the host"),
        (9, "is not loaded"),
        (4, "does not let this user in"),
        (999, "does not start"),
    ],
)
def test_a_driver_that_does_not_answer_is_told_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    def refuse() -> None:
        raise pynvml.NVMLError(code)

    monkeypatch.setattr(pynvml, "nvmlInit", refuse)
    with pytest.raises(AutoscaleError, match=words):
        _nvml.read()
