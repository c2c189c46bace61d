# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach Harbor: the same options in every module of the group."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - Address of Harbor, such as C(https://harbor.example.org), without C(/api).
      - Falls back to the environment variable E(HARBOR_URL).
    type: str
    required: true
  username:
    description:
      - An administrator of the system, or a robot account of the system with rights on registries, replication and its
        policies, where this release of Harbor gives such rights to robots.
      - Falls back to the environment variable E(HARBOR_USERNAME).
    type: str
    required: true
  password:
    description:
      - Password of O(username).
      - Falls back to the environment variable E(HARBOR_PASSWORD).
    type: str
    required: true
  validate_certs:
    description:
      - Whether the certificate must be valid for the address.
      - Falls back to the environment variable E(HARBOR_VALIDATE_CERTS).
    type: bool
    default: true
  ca_path:
    description:
      - File or folder with the CA certificates that signed Harbor's certificate.
      - Falls back to the environment variable E(HARBOR_CA_PATH).
    type: path
requirements:
  - requests (Python library on the host that runs the module)
notes:
  - A change whose answer was lost is read before anything else; it is not sent blindly again.
"""
