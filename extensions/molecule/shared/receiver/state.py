# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print as JSON what an upgrade, a refusal or another configuration may or may not change, and the token."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

service, config, install = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
asked = ["systemctl", "show", "--property=MainPID", "--value", f"{service}.service"]
token = config / "tokens" / "alertmanager"
files = [config / "receiver.yml", token, config / "secrets.env", Path(f"/etc/systemd/system/{service}.service")]
manifest = install / "collections/ansible_collections/onprem/autoscale/MANIFEST.json"
state = {
    "pid": subprocess.check_output(asked, text=True).strip(),
    "files": {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    "releases": sorted(str(path.parent) for path in install.glob("releases/*/complete")),
    "version": json.loads(manifest.read_text())["collection_info"]["version"] if manifest.exists() else "",
}
print(json.dumps({"state": state, "token": token.read_text().strip()}))
