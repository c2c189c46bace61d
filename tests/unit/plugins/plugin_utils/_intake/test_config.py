# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file: every fault named, before anything listens."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import trustme
import yaml

from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._auth import Doorkeeper
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._config import ConfigError, load_config
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._groups import Groups
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._main import main

TOKEN = "0123456789abcdef0123"
PLAYBOOK_NAMES = (("out", "scale_out"), ("in", "scale_in"), ("reconcile", "reconcile"))


@pytest.fixture
def data(tmp_path: Path) -> dict[str, t.Any]:
    """The least that works."""
    (tmp_path / "groups").mkdir()
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "token").chmod(0o600)
    return {
        "tokens": [{"name": "am", "token_file": "token"}],
        "ledger": f"sqlite:///{tmp_path}/ledger.db",
        "scaling_groups_dir": "groups",
        "executor": {"type": "runner", "private_data_root": "runs"},
    }


def load(folder: Path, data: t.Any) -> t.Any:
    """Through a file."""
    path = folder / "receiver.yml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    return load_config(path)


def test_defaults_and_paths(tmp_path: Path, data: dict[str, t.Any]) -> None:
    """Relative paths are meant from the file's folder; the playbooks are the collection's."""
    config = load(tmp_path, data)
    assert config.executor.private_data_root == tmp_path / "runs"
    assert config.tokens[0].file == tmp_path / "token"
    assert (config.host, config.port, config.max_body_bytes) == ("127.0.0.1", 9087, 1048576)
    assert config.playbooks == {what: f"onprem.autoscale.{name}" for what, name in PLAYBOOK_NAMES}
    assert (config.reconcile_period, config.reconcile_soon, config.controller_ttl) == (600, 5, 30)
    config = load(tmp_path, {**data, "playbooks": {"out": "/site/out.yml"}, "reconcile_period": 0})
    assert config.playbooks["out"] == "/site/out.yml"
    assert config.playbooks["reconcile"] == "onprem.autoscale.reconcile"
    assert config.reconcile_period == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"listen": "nowhere"}, "listen"),
        ({"listen": "127.0.0.1:70000"}, "listen: port 70000"),
        ({"listen": "0.0.0.0:9087"}, "insecure_http"),
        ({"tokens": []}, "nobody could deliver"),
        ({"tokens": [{"name": "am", "token_file": "gone"}]}, r"tokens\[am\].*gone"),
        ({"tokens": [{"name": "am", "token_file": "token"}] * 2}, "stands twice"),
        ({"unknown_field": 1}, "unknown_field"),
        ({"scaling_groups_dir": "gone"}, "scaling_groups_dir"),
        ({"inventory": "gone"}, "inventory"),
        ({"max_body_bytes": 1}, "max_body_bytes"),
        ({"alert_max_age": 0}, "alert_max_age"),
        ({"executor": {"type": "magic", "private_data_root": "x"}}, "executor.type"),
        ({"executor": {"type": "runner"}}, "private_data_root"),
        ({"executor": {"type": "runner", "private_data_root": "x", "ansible_playbook": "gone"}}, "ansible_playbook"),
        ({"tls": {"cert": "gone", "key": "gone"}}, "tls.cert"),
        ({"playbooks": {"sideways": "x"}}, "playbooks"),
        ({"reconcile_period": -1}, "reconcile_period"),
        ({"controller_ttl": 1}, "controller_ttl"),
    ],
)
def test_each_fault_is_named(tmp_path: Path, data: dict[str, t.Any], change: dict[str, t.Any], words: str) -> None:
    """Field, value, what is allowed."""
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, {**data, **change})


def test_all_faults_at_once(tmp_path: Path, data: dict[str, t.Any]) -> None:
    """Nobody wants to start it five times."""
    with pytest.raises(ConfigError, match=r"2 fault.*x_y.*sweep_period"):
        load(tmp_path, {**data, "sweep_period": "often", "x_y": 1})
    for text in ("a: [", "just words", ""):
        with pytest.raises(ConfigError):
            load(tmp_path, text)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_a_token_open_to_everybody_is_refused(tmp_path: Path, data: dict[str, t.Any], mode: int) -> None:
    """A15."""
    (tmp_path / "token").chmod(mode)
    with pytest.raises(ConfigError, match="open to every user"):
        load(tmp_path, data)


@pytest.mark.parametrize("text", ["", "short", "two words that are long enough", "ключ-ключ-ключ-ключ"])
def test_a_token_that_is_none_is_refused_and_not_shown(tmp_path: Path, data: dict[str, t.Any], text: str) -> None:
    """A15: the text never stands in the message."""
    (tmp_path / "token").write_text(text)
    with pytest.raises(ConfigError, match="does not hold a token") as caught:
        load(tmp_path, data)
    assert not text or text not in str(caught.value)


def test_the_doorkeeper_reads_a_changed_token(tmp_path: Path, data: dict[str, t.Any]) -> None:
    """Renewed without a restart; an unreadable new one leaves the old one valid."""
    door = Doorkeeper(load(tmp_path, data))
    assert door.who(f"Bearer {TOKEN}", None) is not None
    for wrong in ("", "Bearer", "Bearer ", f"bearer x{TOKEN}", f"Basic {TOKEN}", f"Bearer {TOKEN} {TOKEN}"):
        assert door.who(wrong, None) is None
    (tmp_path / "token").write_text("a-new-token-0123456789")
    assert door.who(f"Bearer {TOKEN}", None) is None
    assert door.who("Bearer a-new-token-0123456789", None) is not None
    (tmp_path / "token").unlink()
    assert door.who("Bearer a-new-token-0123456789", None) is not None
    assert door.who("Bearer x", {"subject": ((("commonName", "am"),),)}) is None, "no client_ca: a name says nothing"


def test_groups_folder(tmp_path: Path) -> None:
    """A file that breaks while it is edited keeps what it said; a deleted one is gone."""
    (tmp_path / "web.yml").write_text("name: web\n")
    (tmp_path / "api.yml").write_text("name: api\nenabled: false\n")
    (tmp_path / "notes.txt").write_text("name: no\n")
    (tmp_path / "bad.yml").write_text("{")
    groups = Groups(tmp_path)
    assert groups.refresh() == {"web": True, "api": False}
    assert groups.broken == 1
    (tmp_path / "web.yml").write_text("name: [half")
    assert groups.refresh()["web"] is True
    (tmp_path / "web.yml").unlink()
    assert "web" not in groups.refresh()


def test_a_group_is_known_by_the_file_that_the_playbooks_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """T2: what a play would not find is not accepted: another ending, or a name that is not the file's."""
    (tmp_path / "web.yml").write_text("name: web\n")
    (tmp_path / "api.yaml").write_text("name: api\n")
    (tmp_path / "copy.yml").write_text("name: db\n")
    groups = Groups(tmp_path)
    assert groups.refresh() == {"web": True}
    assert groups.broken == 1
    assert "copy.yml is left out: it names the group db, whose file is db.yml" in caplog.text
    (tmp_path / "copy.yml").rename(tmp_path / "db.yml")
    assert groups.refresh() == {"web": True, "db": True}
    assert groups.broken == 0


def test_check_sees_that_certificate_and_key_do_not_fit(
    tmp_path: Path, data: dict[str, t.Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Before the receiver is restarted with them."""
    mine, other = (trustme.CA().issue_cert("localhost") for _number in range(2))
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    data["tls"] = {"cert": "cert.pem", "key": "key.pem"}
    (tmp_path / "receiver.yml").write_text(yaml.safe_dump(data))
    arguments = ["--config", str(tmp_path / "receiver.yml"), "--check"]
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    assert main(arguments) == 0
    other.private_key_pem.write_to_path(tmp_path / "key.pem")
    assert main(arguments) == 2
    assert "key.pem cannot be used" in caplog.text
