# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach PAIS: the same options in every module of the group."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - Address of PAIS in a namespace, such as C(https://pais.example.org), without C(/api).
      - Falls back to the environment variable E(PAIS_URL).
    type: str
    required: true
  token:
    description:
      - A bearer token. Either this or O(issuer) is needed.
      - Falls back to the environment variable E(PAIS_TOKEN).
    type: str
  issuer:
    description:
      - The OIDC provider that PAIS trusts. A token is fetched there, and again when it has ended.
      - Falls back to the environment variable E(PAIS_ISSUER).
    type: str
  client_id:
    description:
      - The client at O(issuer).
      - Falls back to the environment variable E(PAIS_CLIENT_ID).
    type: str
  client_secret:
    description:
      - The secret of O(client_id), where it has one.
      - Falls back to the environment variable E(PAIS_CLIENT_SECRET).
    type: str
  username:
    description:
      - An account at O(issuer). Without it the token is that of the client itself.
      - Falls back to the environment variable E(PAIS_USERNAME).
    type: str
  password:
    description:
      - Password of O(username).
      - Falls back to the environment variable E(PAIS_PASSWORD).
    type: str
  validate_certs:
    description:
      - Whether the certificates of both must be valid for their addresses.
      - Falls back to the environment variable E(PAIS_VALIDATE_CERTS).
    type: bool
    default: true
  ca_path:
    description:
      - File or folder with the CA certificates that signed them.
      - Falls back to the environment variable E(PAIS_CA_PATH).
    type: path
requirements:
  - requests (Python library on the host that runs the module)
  - PyYAML (Python library on the host that runs the module)
"""
