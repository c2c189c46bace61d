# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach a vCenter: the same options in every module of the action group C(vsphere)."""

    DOCUMENTATION = r"""
options:
  hostname:
    description:
      - Name or address of the vCenter.
      - If not set, the environment variable E(VMWARE_HOST) is used.
    type: str
    required: true
  port:
    description:
      - Port of the vCenter's API.
      - If not set, the environment variable E(VMWARE_PORT) is used.
    type: int
    default: 443
  username:
    description:
      - User to log in as, with its domain (like V(autoscale@vsphere.local)).
      - If not set, the environment variable E(VMWARE_USER) is used.
    type: str
    required: true
  password:
    description:
      - Password of O(username).
      - If not set, the environment variable E(VMWARE_PASSWORD) is used.
    type: str
    required: true
  validate_certs:
    description:
      - Whether to refuse a vCenter whose certificate is not trusted. V(false) is for labs only.
      - If not set, the environment variable E(VMWARE_VALIDATE_CERTS) is used.
    type: bool
    default: true
  ca_path:
    description:
      - File with the certificates (PEM) of the authorities to trust. Without it, those of the system are trusted.
    type: path
  connection_timeout:
    description:
      - Seconds to wait for the connection, and for each single answer of the vCenter.
    type: int
    default: 30
requirements:
  - pyVmomi >= 8.0.1.0 on the machine that runs the module
notes:
  - The machine that runs the module needs Python 3.10 or newer.
  - All modules of this group log in once per call, and log out at its end.
"""
