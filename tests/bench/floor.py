# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor: N clones by pyVmomi alone, all tasks submitted at once, waited for with one property filter.

Reads {"hostname", "port", "username", "password", "ca_path", "template", "names"} on standard input.
"""

from __future__ import annotations

import json
import ssl
import sys

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTasks
from pyVmomi import vim


def main() -> None:
    arguments = json.load(sys.stdin)
    service = SmartConnect(
        host=arguments["hostname"],
        port=arguments["port"],
        user=arguments["username"],
        pwd=arguments["password"],
        sslContext=ssl.create_default_context(cafile=arguments["ca_path"]),
    )
    content = service.RetrieveContent()
    datacenter = content.searchIndex.FindByInventoryPath("DC0")
    template = content.searchIndex.FindByInventoryPath(f"DC0/vm/{arguments['template']}")
    pool = content.searchIndex.FindByInventoryPath("DC0/host/DC0_C0/Resources")
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=pool), powerOn=True, template=False)
    tasks = [template.Clone(folder=datacenter.vmFolder, name=name, spec=spec) for name in arguments["names"]]
    WaitForTasks(tasks, service)
    Disconnect(service)


if __name__ == "__main__":
    main()
