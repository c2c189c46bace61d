# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice."""

from __future__ import annotations


class ModuleDocFragment:
    """Which model endpoints, and how to reach them."""

    DOCUMENTATION = r"""
options:
  members:
    description:
      - The endpoints. An empty list succeeds.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the member, for the result.
        type: str
        required: true
      address:
        description: Where it is asked, an IP address or a host name.
        type: str
        required: true
  port:
    description:
      - Port of vLLM's HTTP server.
    type: int
    default: 8000
  scheme:
    description:
      - How the members are asked.
    type: str
    choices: [http, https]
    default: http
  api_key:
    description:
      - The key that vLLM asks for, where it asks for one.
      - If not set, the environment variable E(VLLM_API_KEY) is used.
    type: str
  validate_certs:
    description:
      - Whether the certificate must be valid for the address; only for O(scheme=https).
    type: bool
    default: true
  ca_path:
    description:
      - File or folder with the CA certificates that signed the members' certificates.
    type: path
requirements:
  - requests (Python library on the host that runs the module)
  - prometheus-client (Python library on the host that runs the module)
notes:
  - Environment variables for proxies are not used, and redirects are not followed.
"""
