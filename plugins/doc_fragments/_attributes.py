# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice."""

from __future__ import annotations


class ModuleDocFragment:
    """What a module promises about check mode, diff, repetition, and its action group."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what would change without changing anything.
  diff_mode:
    description: Returns what changed (or would change in C(check_mode)) when in diff mode.
  idempotent:
    description: When run twice in a row outside check mode with the same arguments, the second call changes nothing.
"""

    #: For modules that only read.
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: This module changes nothing.
  diff_mode:
    support: N/A
    details: This module changes nothing.
  idempotent:
    support: full
    details: This module changes nothing.
"""

    ACTIONGROUP_VSPHERE = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/onprem.autoscale.vsphere) in C(module_defaults) to set connection options once.
    support: full
    membership:
      - onprem.autoscale.vsphere
"""

    ACTIONGROUP_F5 = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/onprem.autoscale.f5) in C(module_defaults) to set connection options once.
    support: full
    membership:
      - onprem.autoscale.f5
"""

    ACTIONGROUP_PROMETHEUS = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/onprem.autoscale.prometheus) in C(module_defaults) to set connection options once.
    support: full
    membership:
      - onprem.autoscale.prometheus
"""

    ACTIONGROUP_ALERTMANAGER = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/onprem.autoscale.alertmanager) in C(module_defaults) to set connection options once.
    support: full
    membership:
      - onprem.autoscale.alertmanager
"""

    ACTIONGROUP_LEDGER = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/onprem.autoscale.ledger) in C(module_defaults) to set connection options once.
    support: full
    membership:
      - onprem.autoscale.ledger
"""

    ACTIONGROUP_VLLM = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/onprem.autoscale.vllm) in C(module_defaults) to set connection options once.
    support: full
    membership:
      - onprem.autoscale.vllm
"""

    ACTIONGROUP_DSM = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/onprem.autoscale.dsm) in C(module_defaults) to set connection options once.
    support: full
    membership:
      - onprem.autoscale.dsm
"""

    ACTIONGROUP_PGVECTOR = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/onprem.autoscale.pgvector) in C(module_defaults) to set connection options once.
    support: full
    membership:
      - onprem.autoscale.pgvector
"""

    ACTIONGROUP_EPOCH = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/onprem.autoscale.epoch) in C(module_defaults) to set site and stores once.
    support: full
    membership:
      - onprem.autoscale.epoch
"""

    ACTIONGROUP_RECOVERY = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/onprem.autoscale.recovery) in C(module_defaults) to set directory and plan once.
    support: full
    membership:
      - onprem.autoscale.recovery
"""

    ACTIONGROUP_HARBOR = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/onprem.autoscale.harbor) in C(module_defaults) to set connection options once.
    support: full
    membership:
      - onprem.autoscale.harbor
"""

    ACTIONGROUP_PAIS = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/onprem.autoscale.pais) in C(module_defaults) to set connection options once.
    support: full
    membership:
      - onprem.autoscale.pais
"""

    ACTIONGROUP_AVI = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/onprem.autoscale.avi) in C(module_defaults) to set connection options once.
    support: full
    membership:
      - onprem.autoscale.avi
"""
