# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach Prometheus."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - Address of Prometheus, with its path prefix if it has one.
      - If not set, the environment variable E(PROMETHEUS_URL) is used.
    type: str
    required: true
  username:
    description:
      - User for HTTP basic authentication, where a proxy or the web configuration asks for it.
      - If not set, the environment variable E(PROMETHEUS_USERNAME) is used.
    type: str
  password:
    description:
      - Password of O(username).
      - If not set, the environment variable E(PROMETHEUS_PASSWORD) is used.
    type: str
  token:
    description:
      - Bearer token; instead of O(username) and O(password).
      - If not set, the environment variable E(PROMETHEUS_TOKEN) is used.
    type: str
  validate_certs:
    description:
      - Whether the certificate of the server is checked.
      - If not set, the environment variable E(PROMETHEUS_VALIDATE_CERTS) is used.
    type: bool
    default: true
  ca_path:
    description:
      - File or folder with the CA certificates that signed the server's certificate.
      - If not set, the environment variable E(PROMETHEUS_CA_PATH) is used.
    type: path
requirements:
  - requests (Python library on the host that runs the module)
"""

    #: For modules that edit what Prometheus reads.
    CONFIG = r"""
options:
  config_file:
    description:
      - The main configuration file of Prometheus on the host where the module runs.
      - All changes to the configuration of one Prometheus take turns by a lock on this file.
    type: path
    default: /etc/prometheus/prometheus.yml
  promtool:
    description:
      - Name or path of C(promtool), which checks a file before it is installed. Without it nothing is installed.
    type: str
    default: promtool
requirements:
  - PyYAML (Python library on the host that runs the module)
  - promtool of the same version as Prometheus, on the same host
  - Prometheus started with C(--web.enable-lifecycle)
"""
