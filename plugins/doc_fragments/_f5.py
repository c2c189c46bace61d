# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach a BIG-IP: the same options in every module of the group."""

    DOCUMENTATION = r"""
options:
  hostname:
    description:
      - Name or address of the BIG-IP's management interface, of the active device where there is a pair.
      - Falls back to the environment variable E(F5_SERVER).
    type: str
    required: true
  port:
    description:
      - Port of the management interface.
      - Falls back to the environment variable E(F5_SERVER_PORT).
    type: int
    default: 443
  username:
    description:
      - User for iControl REST. Adding and removing members needs the role Manager or Resource Administrator on the
        partition, enabling and disabling them the role Operator.
      - Falls back to the environment variable E(F5_USER).
    type: str
    required: true
  password:
    description:
      - Password of O(username).
      - Falls back to the environment variable E(F5_PASSWORD).
    type: str
    required: true
  provider:
    description:
      - The login provider that knows O(username). It is C(tmos) for local users and for those of the remote directory
        that the device itself is set up with.
    type: str
    default: tmos
  validate_certs:
    description:
      - Whether to check the device's certificate.
      - Falls back to the environment variable E(F5_VALIDATE_CERTS).
    type: bool
    default: true
  ca_path:
    description:
      - File with the CA certificates that vouch for the device; the system's own where nothing is given.
      - Falls back to the environment variable E(F5_CA_PATH).
    type: path
  timeout:
    description:
      - Seconds without an answer after which a single request fails.
    type: int
    default: 30
  busy_timeout:
    description:
      - Seconds to go on trying while the device says that its configuration utility restarts or that another task runs,
        or breaks off connections after it has answered once.
      - A connection that is refused before the first answer, and an internal server error, are tried again for 10
        seconds, or for this time where it is shorter.
    type: int
    default: 120
requirements:
  - requests
notes:
  - One session is opened for a call, however many members it handles, and its token is given back at the end.
"""
