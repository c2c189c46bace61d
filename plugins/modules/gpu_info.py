#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the GPUs of a host and compares them with what is expected."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_info
short_description: Read driver, memory, mode and licence of the NVIDIA GPUs of a host
version_added: 0.1.0
description:
  - Reads what NVML, the library of NVIDIA's driver, knows of the GPUs of the host where the module runs.
  - With O(expect) it fails when the GPUs are not so, with all that is wrong at once.
  - An unlicensed vGPU is fast for some minutes after its start and slows down to almost nothing then, so a test of
    what it serves does not find it. That is what O(expect.license) is for.
  - What a GPU does not tell is V(null), and no failure.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.info_module
options:
  expect:
    description:
      - What the GPUs have to be; what is left out is not looked at.
    type: dict
    default: {}
    suboptions:
      count:
        description: How many GPUs there are.
        type: int
      driver:
        description: The oldest version of the driver that will do, such as V(570) or V(570.148.08).
        type: str
      mig:
        description: Whether MIG is switched on on each of them; a GPU without MIG counts as off.
        type: bool
      mode:
        description: How each of them is given to the host; V(any) is the same as leaving it out.
        type: str
        choices: [any, none, passthrough, vgpu, host_vgpu, host_vsga]
      license:
        description: With V(true), each GPU that asks for a licence has to have one.
        type: bool
      memory_mb:
        description: How much memory each of them has at least, in MiB.
        type: int
requirements:
  - nvidia-ml-py (Python library on the host that runs the module)
  - NVIDIA's driver on the host that runs the module
seealso:
  - module: onprem.autoscale.oci_artifact
"""

EXAMPLES = r"""
- name: See what is there
  onprem.autoscale.gpu_info:
  register: seen

- name: Two licensed vGPUs of 48 GB; a licence may take two minutes after the boot
  onprem.autoscale.gpu_info:
    expect:
      count: 2
      mode: vgpu
      license: true
      memory_mb: 48000
  register: seen
  until: seen is succeeded
  retries: 24
  delay: 5
"""

RETURN = r"""
driver:
  description: Version of the driver.
  returned: when NVML answers
  type: str
  sample: 570.148.08
gpus:
  description: One row for each GPU.
  returned: when NVML answers
  type: list
  elements: dict
  contains:
    index:
      description: Its number, from 0 on.
      type: int
    uuid:
      description: Its UUID, as C(CUDA_VISIBLE_DEVICES) and vLLM's C(--device-ids) take it.
      type: str
      sample: GPU-6f2b1c8e-9a4d-4e77-8c1e-3f5a7b9d0e21
    name:
      description: Its name, with the profile of a vGPU.
      type: str
      sample: NVIDIA L40S-48C
    memory_mb:
      description: Memory in MiB.
      type: int
      sample: 49152
    memory_used_mb:
      description: Memory in use in MiB, without what the driver keeps for itself where it tells that apart.
      type: int
      sample: 512
    mode:
      description: V(none), V(passthrough), V(vgpu), V(host_vgpu) or V(host_vsga).
      type: str
      sample: vgpu
    mig:
      description: Whether MIG is switched on; V(null) for a GPU without MIG.
      type: bool
    licensed:
      description: Whether it has its licence; V(null) when none is asked for.
      type: bool
    license_expiry:
      description: When the licence ends (UTC), or V(permanent).
      type: str
      sample: '2027-01-31T12:00:00Z'
    processes:
      description: Who computes on it now; V(null) when it does not tell.
      type: list
      elements: dict
      contains:
        pid:
          description: Number of the process.
          type: int
        memory_mb:
          description: Memory that it uses in MiB; V(null) when it is not told.
          type: int
problems:
  description: All that is not as O(expect) says.
  returned: when NVML answers
  type: list
  elements: str
  sample: []
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import RefusedError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._gpu import _expect, _nvml

SPEC = ArgumentSpec(
    {
        "expect": {
            "type": "dict",
            "default": {},
            "options": {
                "count": {"type": "int"},
                "driver": {"type": "str"},
                "mig": {"type": "bool"},
                "mode": {
                    "type": "str",
                    "choices": ["any", "none", "passthrough", "vgpu", "host_vgpu", "host_vsga"],
                },
                "license": {"type": "bool"},
                "memory_mb": {"type": "int"},
            },
        }
    }
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read and compare."""
    require_library(module, "nvidia-ml-py", _nvml.HAS_PYNVML, _nvml.PYNVML_IMPORT_ERROR)
    found = _nvml.read()
    problems = _expect.problems(found, module.params["expect"] or {})
    result = {"changed": False, **found, "problems": problems}
    if problems:
        raise RefusedError(f"The GPUs are not as expected: {'; '.join(problems)}", result=result)
    return result


def main() -> None:
    """Entry point."""
    run(SPEC.create_module(), work)


if __name__ == "__main__":
    main()
