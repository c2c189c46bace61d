#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pulls an OCI artifact by its digest into a folder."""

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_artifact
short_description: Pull a model from an OCI registry into a folder, by its digest
version_added: 0.1.0
description:
  - Pulls the layers of an OCI artifact, such as the weights of a model in Harbor, to the host where the module runs.
  - The files come to C(revisions/sha256-<hex>/) below O(path); when all of them are there and their digests are right,
    the link C(current) moves to them in one step. Until then it points at the revision before, so a service that reads
    C(current) never sees half a model.
  - A pull that was killed goes on where it was, in the middle of a layer. A layer whose digest is wrong is removed and
    the call fails; nothing of it is ever served.
  - A call that finds the revision complete and current asks nobody, so it works while the registry is away.
  - Reads ModelPack (C(application/vnd.cncf.model.*) and the older C(cnai)), layers with an oras title, and Docker's
    C(vnd.docker.ai.*); raw files, C(tar), C(tar+gzip), and C(tar+zstd) where this Python can read it.
  - A large model takes minutes or hours. Run the task with C(async), so that it does not hang on one SSH connection.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
attributes:
  check_mode:
    support: full
    details: The manifest is read, to see that it is there and may be read; no layer is.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  reference:
    description:
      - What to pull, as C(registry/repository@sha256:...). A tag alone is refused, as it may move.
    type: str
    required: true
  path:
    description:
      - The folder that holds C(revisions) and C(current); it is made when it is missing, and is for this module alone.
    type: path
    required: true
  username:
    description:
      - User, such as a pull-only robot; sent only to the registry, and to where it says that tokens are made.
    type: str
  password:
    description:
      - Password of O(username).
    type: str
  jobs:
    description:
      - How many layers are fetched at the same time.
    type: int
    default: 4
  keep_revisions:
    description:
      - How many revisions stay, the current one included; the one before it is the last to go.
    type: int
    default: 2
  plain_http:
    description:
      - Whether the registry speaks HTTP without TLS; for laboratories, as the password is then readable on the way.
    type: bool
    default: false
  validate_certs:
    description:
      - Whether the certificate of the registry is checked.
    type: bool
    default: true
  ca_path:
    description:
      - File or folder with the CA certificates that signed the certificate of the registry.
    type: path
  timeout:
    description:
      - Seconds for the whole pull; what was fetched until then stays for the next call.
    type: int
    default: 7200
requirements:
  - requests (Python library on the host that runs the module)
  - zstandard (Python library on the host that runs the module), only for layers of the type C(tar+zstd)
seealso:
  - module: onprem.autoscale.gpu_info
"""

EXAMPLES = r"""
- name: The model, by digest
  onprem.autoscale.oci_artifact:
    reference: harbor.example.com/models/llama@sha256:4c1f2a0a5d4c2f0d9b8f6f8c5f2f3b5e0a7d1c9e8b7a6f5e4d3c2b1a09f8e7d6
    path: /var/lib/vllm/models/main
    username: robot$models+pull
    password: "{{ vllm_registry_password }}"
    ca_path: /etc/ssl/certs/site-ca.pem
  async: 7200
  poll: 10
  register: model

- name: Back to the revision before; it is still there, so nothing is fetched
  onprem.autoscale.oci_artifact:
    reference: harbor.example.com/models/llama@sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0
    path: /var/lib/vllm/models/main
"""

RETURN = r"""
digest:
  description: The digest of the manifest.
  returned: success
  type: str
  sample: sha256:4c1f2a0a5d4c2f0d9b8f6f8c5f2f3b5e0a7d1c9e8b7a6f5e4d3c2b1a09f8e7d6
current:
  description: The link to the files.
  returned: success
  type: str
  sample: /var/lib/vllm/models/main/current
revision:
  description: The folder that the link points at.
  returned: success
  type: str
  sample: /var/lib/vllm/models/main/revisions/sha256-4c1f2a0a5d4c2f0d9b8f6f8c5f2f3b5e0a7d1c9e8b7a6f5e4d3c2b1a09f8e7d6
files:
  description: The files of the artifact, by name; in check mode without those that are still in an archive.
  returned: success
  type: list
  elements: str
  sample: [config.json, model.safetensors]
bytes:
  description: How long those files are together.
  returned: success
  type: int
  sample: 16060556376
bytes_fetched:
  description: How many bytes of layers came from the registry in this call.
  returned: always, when the registry was asked
  type: int
  sample: 0
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._common import _http
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._oci import _pull
from ansible_collections.onprem.autoscale.plugins.module_utils._oci._manifest import Reference

SPEC = ArgumentSpec(
    {
        "reference": {"type": "str", "required": True},
        "path": {"type": "path", "required": True},
        "username": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "jobs": {"type": "int", "default": 4},
        "keep_revisions": {"type": "int", "default": 2},
        "plain_http": {"type": "bool", "default": False},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "timeout": {"type": "int", "default": 7200},
    },
    required_together=[("username", "password")],
)
CONNECTION = ("username", "password", "plain_http", "validate_certs", "ca_path")


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Pull and tell."""
    params = module.params
    require_library(module, "requests", _http.HAS_REQUESTS, _http.REQUESTS_IMPORT_ERROR)
    for name in ("jobs", "keep_revisions", "timeout"):
        if params[name] < 1:
            raise InvalidSpecError(f"{name} {params[name]} must be 1 or more")
    wish = _pull.Wish(
        Reference.parse(params["reference"]),
        params["path"],
        params["jobs"],
        params["keep_revisions"],
        params["timeout"],
        {name: params[name] for name in CONNECTION},
    )
    outcome = _pull.pull(wish, check_mode=module.check_mode)
    return {
        "changed": outcome.changed,
        "digest": outcome.digest,
        "current": outcome.current,
        "revision": outcome.revision,
        "files": sorted(outcome.files),
        "bytes": sum(outcome.files.values()),
        "bytes_fetched": outcome.fetched,
        "diff": outcome.diff(),
    }


def main() -> None:
    """Entry point."""
    run(SPEC.create_module(), work)


if __name__ == "__main__":
    main()
