# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An emulated DSM comes back after a kill as it was, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from contract.dsm_kit import Site, manifest

from lab.dsm.spawn import Dsm, _remove_abandoned
from lab.process import start_time

CLUSTERS = "/apis/databases.dataservices.vmware.com/v1alpha1/namespaces/default/postgresclusters"


def processes_of(folder: Path) -> list[str]:
    """Command lines that name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and start_time(int(entry.name)) is not None:
            found.append(line)
    return found


def test_after_a_kill_it_comes_back_with_its_objects_and_without_its_tokens():
    with Dsm.temporary(controller="fake") as dsm:
        site = Site(dsm)
        old = {"Authorization": site.token()}
        assert site.call("POST", CLUSTERS, manifest("kept"), old)[0] == 201
        assert stat.S_IMODE(Path(dsm.row["kubeconfig"]).stat().st_mode) == 0o600
        secrets = [user["password"] for user in dsm.row["users"].values()]
        lines = processes_of(dsm.folder)
        assert len(lines) == 2
        assert not [line for line in lines for secret in secrets if secret in line]
        assert not [secret for secret in secrets if secret in dsm.log()]
        before = dsm.row
        dsm.kill()
        dsm.up()
        after = {**dsm.row, "control": before["control"]}
        assert after == before
        assert site.call("GET", f"{CLUSTERS}/kept", headers=old)[0] == 401
        code, _headers, text = site.call("GET", f"{CLUSTERS}/kept", headers={"Authorization": site.token()})
        assert (code, json.loads(text)["metadata"]["name"]) == (200, "kept")
    assert processes_of(dsm.folder) == []
    assert not dsm.folder.exists()


def test_what_a_killed_test_run_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dsm = Dsm.temporary(controller=False)
    dsm.up()
    _remove_abandoned()
    assert dsm.running()
    (dsm.folder / "maker.json").write_text(json.dumps({"pid": os.getpid(), "start_time": 1}))
    _remove_abandoned()
    assert processes_of(dsm.folder) == []
    assert not dsm.folder.exists()
