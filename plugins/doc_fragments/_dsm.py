# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach DSM: the same options in every module of the group."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - Address of DSM, such as C(https://dsm.example.org). Either this or O(kubeconfig) is needed.
      - Falls back to the environment variable E(DSM_URL).
    type: str
  email:
    description:
      - Account of DSM, or of vCenter with O(login=vsphere). A DSM_ADMIN or DSM_USER may touch databases.
      - Falls back to the environment variable E(DSM_EMAIL).
    type: str
  password:
    description:
      - Password of O(email).
      - Falls back to the environment variable E(DSM_PASSWORD).
    type: str
  login:
    description:
      - Whose account O(email) is.
    type: str
    choices: [dsm, vsphere]
    default: dsm
  kubeconfig:
    description:
      - A kubeconfig of DSM, or of the cluster in which the objects live, instead of O(url).
      - Falls back to the environment variable E(DSM_KUBECONFIG).
    type: path
  context:
    description:
      - Context of O(kubeconfig). If not set, its current one.
    type: str
  validate_certs:
    description:
      - Whether the certificate must be valid for the address.
      - Falls back to the environment variable E(DSM_VALIDATE_CERTS).
    type: bool
    default: true
  ca_path:
    description:
      - File or folder with the CA certificates that signed DSM's certificate. It outranks that of O(kubeconfig).
      - Falls back to the environment variable E(DSM_CA_PATH).
    type: path
  namespace:
    description:
      - Namespace of the objects.
      - Falls back to the environment variable E(DSM_NAMESPACE).
    type: str
    default: default
requirements:
  - kubernetes >= 31 (Python library on the host that runs the module)
notes:
  - There is one login in a call, and one more when the token has ended meanwhile.
  - A change whose answer was lost is read before anything else; it is not sent blindly again.
"""
