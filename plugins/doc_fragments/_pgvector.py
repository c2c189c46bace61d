# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice."""

from __future__ import annotations


class ModuleDocFragment:
    """Which database, and how to reach it."""

    DOCUMENTATION = r"""
options:
  host:
    description:
      - The server's name or address.
      - If not set, the environment variable E(PGHOST) is used.
    type: str
    required: true
  port:
    description:
      - Its port.
      - If not set, the environment variable E(PGPORT) is used.
    type: int
    default: 5432
  database:
    description:
      - The database.
      - If not set, the environment variable E(PGDATABASE) is used.
    type: str
    required: true
  username:
    description:
      - The role that logs in.
      - If not set, the environment variable E(PGUSER) is used.
    type: str
    required: true
  password:
    description:
      - Its password. A password file is the better way, see O(passfile).
      - With neither of the two, E(PGPASSWORD), E(PGPASSFILE) and C(~/.pgpass) are read where the module runs.
    type: str
  passfile:
    description:
      - A password file in libpq's form on the host that runs the module, with mode 0600.
    type: path
  sslmode:
    description:
      - Whether the connection is encrypted, and what the certificate must prove. Only V(verify-full) protects against
        somebody in between.
      - If not set, the environment variable E(PGSSLMODE) is used.
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
    default: verify-full
  ca_path:
    description:
      - File with the CA certificates that signed the server's certificate. Without it C(~/.postgresql/root.crt), or
        those that the system trusts.
      - If not set, the environment variable E(PGSSLROOTCERT) is used.
    type: path
  connect_timeout:
    description:
      - Seconds for connecting, for each address of O(host).
    type: int
    default: 10
  statement_timeout:
    description:
      - Seconds that a statement may take. A lock is waited for at most 30 of them.
    type: int
    default: 300
requirements:
  - psycopg >= 3.2 (Python library on the host that runs the module)
notes:
  - The session belongs to the whole call, so connect to PostgreSQL itself and not through a pooler in transaction mode.
"""
