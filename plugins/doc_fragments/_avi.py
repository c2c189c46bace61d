# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach an Avi controller: the same options in every module of the group."""

    DOCUMENTATION = r"""
options:
  hostname:
    description:
      - Name or address of the controller, or of its cluster.
      - Falls back to the environment variable E(AVI_CONTROLLER).
    type: str
    required: true
  port:
    description:
      - Port of its API.
      - Falls back to the environment variable E(AVI_PORT).
    type: int
    default: 443
  username:
    description:
      - User of the API. GSLB services need a role with write access to them.
      - Falls back to the environment variable E(AVI_USERNAME).
    type: str
    required: true
  password:
    description:
      - Password of O(username).
      - Falls back to the environment variable E(AVI_PASSWORD).
    type: str
    required: true
  tenant:
    description:
      - Tenant that the objects belong to.
      - Falls back to the environment variable E(AVI_TENANT).
    type: str
    default: admin
  api_version:
    description:
      - Version of the API whose fields are meant. The controller refuses one that it does not know.
      - Falls back to the environment variable E(AVI_API_VERSION).
    type: str
    default: 22.1.1
  validate_certs:
    description:
      - Whether to check the controller's certificate.
      - Falls back to the environment variable E(AVI_VALIDATE_CERTS).
    type: bool
    default: true
  ca_path:
    description:
      - File or folder with the CA certificates that vouch for the controller. If not set, the system's own.
      - Falls back to the environment variable E(AVI_CA_PATH).
    type: path
  timeout:
    description:
      - Seconds without an answer after which a single request fails.
    type: int
    default: 30
requirements:
  - requests
notes:
  - There is one login in a call, and one more when the session has ended meanwhile; it is ended at the end.
  - A change whose answer was lost is read before anything else; it is not sent blindly again.
"""
