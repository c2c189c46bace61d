# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What NVML knows of the GPUs of this host. What a GPU does not answer (NotSupported) is ``None``, not an error.
"""

from __future__ import annotations

import contextlib
import traceback
import typing as t

from .._common._errors import BackendDownError, NotFoundError, RefusedError

try:
    import pynvml
    from pynvml import nvmlDeviceGetComputeRunningProcesses_v3, nvmlDeviceGetGridLicensableFeatures_v4, nvmlMemory_v2

    HAS_PYNVML = True
    PYNVML_IMPORT_ERROR: str | None = None
except ImportError:
    HAS_PYNVML = False
    PYNVML_IMPORT_ERROR = traceback.format_exc()

MIB = 1024 * 1024
MODES = {0: "none", 1: "passthrough", 2: "vgpu", 3: "host_vgpu", 4: "host_vsga"}
#: Status of an expiry date; the numbers of nvml.h, as pynvml's own constants are tuples by mistake.
EXPIRES, PERMANENT = 2, 4


def read() -> dict[str, t.Any]:
    """``{driver, gpus}``. :raises AutoscaleError: there is no driver that answers."""
    with _session():
        driver = _must("the version of the driver", pynvml.nvmlSystemGetDriverVersion)
        count = _must("the number of GPUs", pynvml.nvmlDeviceGetCount)
        return {"driver": driver, "gpus": [_gpu(index) for index in range(count)]}


@contextlib.contextmanager
def _session() -> t.Iterator[None]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise _no_driver(error) from error
    try:
        yield
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _no_driver(error: Exception) -> Exception:
    code = getattr(error, "value", None)
    if code in (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND):
        found = "is not there" if code == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND else "is too old"
        return NotFoundError(
            f"NVML, the library libnvidia-ml.so.1 of NVIDIA's driver, {found}",
            remedy="Install the driver, on a vGPU the guest driver of the same release as the host's; "
            "it belongs into the template.",
        )
    if code == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return RefusedError(
            "NVML and the loaded kernel module are of different versions of the driver",
            remedy="The driver was updated while it was in use: restart the host.",
        )
    if code == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return BackendDownError(
            "The kernel module of NVIDIA's driver is not loaded",
            remedy="Try 'modprobe nvidia' and look at the kernel's log: was it built for this kernel, is a GPU there?",
        )
    if code == pynvml.NVML_ERROR_NO_PERMISSION:
        return RefusedError("NVML does not let this user in", remedy="Run as root, or give the user /dev/nvidia*.")
    return BackendDownError(f"NVML does not start: {error}", remedy="Look at the kernel's log for NVRM and Xid.")


def _must(what: str, ask: t.Callable[..., t.Any], *arguments: t.Any) -> t.Any:
    try:
        return ask(*arguments)
    except pynvml.NVMLError as error:
        raise _failed(what, error) from error


def _may(what: str, ask: t.Callable[..., t.Any], *arguments: t.Any) -> t.Any:
    """The answer, or ``None`` where this GPU, this driver or our rights have none."""
    try:
        return ask(*arguments)
    except pynvml.NVMLError as error:
        silent = (
            pynvml.NVML_ERROR_NOT_SUPPORTED,
            pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
            pynvml.NVML_ERROR_NO_PERMISSION,
        )
        if getattr(error, "value", None) in silent:
            return None
        raise _failed(what, error) from error


def _failed(what: str, error: Exception) -> BackendDownError:
    return BackendDownError(
        f"NVML does not tell {what}: {error}", remedy="Look at the kernel's log for NVRM and Xid; restart the host."
    )


def _gpu(index: int) -> dict[str, t.Any]:
    handle = _must(f"GPU {index}", pynvml.nvmlDeviceGetHandleByIndex, index)

    def may(what: str, ask: t.Callable[..., t.Any], *arguments: t.Any) -> t.Any:
        return _may(f"{what} of GPU {index}", ask, handle, *arguments)

    mode = may("the virtualization mode", pynvml.nvmlDeviceGetVirtualizationMode)
    # The second version does not count what the driver keeps for itself as used.
    memory = may("the memory", pynvml.nvmlDeviceGetMemoryInfo, nvmlMemory_v2) or may(
        "the memory", pynvml.nvmlDeviceGetMemoryInfo
    )
    mig = may("the MIG mode", pynvml.nvmlDeviceGetMigMode)
    processes = may("the processes", nvmlDeviceGetComputeRunningProcesses_v3)
    licensed, expiry = _license(may("the licence", nvmlDeviceGetGridLicensableFeatures_v4), mode)
    return {
        "index": index,
        "uuid": may("the UUID", pynvml.nvmlDeviceGetUUID),
        "name": may("the name", pynvml.nvmlDeviceGetName),
        "memory_mb": memory and memory.total // MIB,
        "memory_used_mb": memory and memory.used // MIB,
        "mode": None if mode is None else MODES.get(mode, f"unknown ({mode})"),
        "mig": None if mig is None else bool(mig[0]),
        "licensed": licensed,
        "license_expiry": expiry,
        "processes": None
        if processes is None
        else [
            {"pid": row.pid, "memory_mb": None if row.usedGpuMemory is None else row.usedGpuMemory // MIB}
            for row in processes
        ],
    }


def _license(features: t.Any, mode: int | None) -> tuple[bool | None, str | None]:
    """(licensed, until when). Only a vGPU, or a feature that is switched on, asks for a licence."""
    if features is None or not features.isGridLicenseSupported:
        return None, None
    rows = list(features.gridLicensableFeatures)[: features.licensableFeaturesCount]
    enabled = [row for row in rows if row.featureEnabled]
    if not enabled and mode != pynvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU:
        return None, None
    licensed = [row for row in enabled or rows if row.featureState]
    if not licensed:
        return False, None
    expiry = licensed[0].licenseExpiry
    if expiry.status == PERMANENT:
        return True, "permanent"
    if expiry.status != EXPIRES:
        return True, None
    return True, (
        f"{expiry.year:04d}-{expiry.month:02d}-{expiry.day:02d}T{expiry.hour:02d}:{expiry.min:02d}:{expiry.sec:02d}Z"
    )
