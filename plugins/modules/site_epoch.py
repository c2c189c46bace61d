#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: site_epoch
short_description: Say or take which site may act on scaling groups
version_added: 0.3.0
description:
  - Groups that live at several sites share a scope. Its epoch is a number that only grows, with the name of the site
    that holds it. It is stored in the ledger of each site and in that of a witness.
  - A site may act when the highest epoch that it sees names it alone, and that record stands at most of O(stores) or
    was forced. Playbooks ask before they change a group, and the planner refuses with the code V(not_holder).
  - All stores are asked at once, so that dead ones cost as much time as one.
options:
  scope:
    description:
      - Name of the scope, as the groups have it in C(recovery.scope).
    type: str
    required: true
  site:
    description:
      - Name of the site that asks, or that is to have the epoch.
    type: str
    required: true
  stores:
    description:
      - URLs of ledgers by name, as O(onprem.autoscale.scaling_plan#module:ledger) has them. Each site's, and a
        witness that shares no failure with them - two stores cannot tell a dead site from a cut cable.
      - The same for all sites. A database that is named twice would be counted twice, and is refused.
      - A password in a URL is never printed by this collection. Better keep it out of the URL (C(.pgpass)).
    type: dict
    required: true
  state:
    description:
      - V(checked) changes nothing.
      - V(held) takes the next epoch for O(site) and writes it to all stores that can be reached, to most of them at
        least. Where O(site) holds it already, nothing changes but stores that lack it; an earlier run that was cut off
        is finished with its own epoch.
      - V(granted) is for the first time, with all stores reached. It is refused when another site ever held the
        scope.
    type: str
    choices: [held, checked, granted]
    default: checked
  force:
    description:
      - Take the epoch although most of the stores cannot be reached, which they say as C(alone). The word of a person
        that the other site is dead. If it lives, both act until they see each other.
    type: bool
    default: false
  reason:
    description:
      - Why, for those who look at it later.
    type: str
    default: ""
  wait_timeout:
    description:
      - Seconds until a store that has not answered counts as not reached.
    type: float
    default: 10.0
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_epoch
requirements:
  - SQLAlchemy >= 2.0, where C(ansible-playbook) runs
  - psycopg >= 3.2, where C(ansible-playbook) runs, for stores in PostgreSQL
notes:
  - This is an action plugin. It runs on the controller, whatever the host of the play is.
  - An action that was begun before the epoch was taken from its site ends by itself; the next one is refused.
seealso:
  - module: onprem.autoscale.scaling_plan
  - module: onprem.autoscale.scaling_process
author:
  - The onprem.autoscale authors (@onprem-autoscale)
"""

EXAMPLES = r"""
- name: Site a has it first
  onprem.autoscale.site_epoch:
    scope: shop
    site: a
    stores:
      a: postgresql+psycopg://autoscale@db.a.example.org/onprem_autoscale
      b: postgresql+psycopg://autoscale@db.b.example.org/onprem_autoscale
      witness: postgresql+psycopg://autoscale@witness.example.org/onprem_autoscale
    state: granted

- name: Ask whether site a may act
  onprem.autoscale.site_epoch:
    scope: shop
    site: a
    stores: "{{ autoscale_epoch_stores }}"
  register: epoch

- name: Site b takes over
  onprem.autoscale.site_epoch:
    scope: shop
    site: b
    stores: "{{ autoscale_epoch_stores }}"
    state: held
    reason: site a lost its power
"""

RETURN = r"""
scope:
  description: Name of the scope.
  returned: success
  type: str
site:
  description: Name of the site that was asked for.
  returned: success
  type: str
may_act:
  description: Whether it may act on the groups of the scope.
  returned: success
  type: bool
epoch:
  description: The highest epoch that was seen; 0 when there is none.
  returned: success
  type: int
holder:
  description: The site that it names; empty when it names nobody, or several.
  returned: success
  type: str
alone:
  description: Whether it was forced without most of the stores.
  returned: success
  type: bool
reason:
  description: One sentence that says why O(site) may act, or why not.
  returned: success
  type: str
  sample: epoch 3 of shop is held by b, not by a
stores:
  description: What each store has.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the store.
      type: str
      returned: success
    reached:
      description: Whether it answered.
      type: bool
      returned: success
    epoch:
      description: Its epoch; 0 when it has none or was not reached.
      type: int
      returned: success
    holder:
      description: The site that it names.
      type: str
      returned: success
    alone:
      description: Whether that was forced.
      type: bool
      returned: success
    granted_at:
      description: When, in seconds since the epoch of Unix.
      type: float
      returned: success
    by:
      description: Who, as host name and process of C(ansible-playbook).
      type: str
      returned: success
    reason:
      description: Why.
      type: str
      returned: success
    msg:
      description: Why it was not reached, and what to do; else empty.
      type: str
      returned: success
"""
