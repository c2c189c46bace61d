# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The password file of libpq: merged, escaped, private, and written only when it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import NotFoundError, RefusedError
from ansible_collections.onprem.autoscale.plugins.module_utils._dsm import _passfile

ONE = _passfile.Entry("db", 5432, "*", "pgadmin", "a:b\\c")


def test_a_new_file_is_private_and_the_second_time_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    assert _passfile.write(str(path), [ONE], check=False) == (str(path), True)
    assert path.read_text() == "db:5432:*:pgadmin:a\\:b\\\\c\n"
    assert path.stat().st_mode & 0o777 == 0o600
    written = path.stat().st_ino
    assert _passfile.write(str(path), [ONE], check=False) == (str(path), False)
    assert path.stat().st_ino == written


def test_lines_of_the_same_server_and_user_go_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    path.write_text("# mine\ndb:5432:docs:pgadmin:old\ndb:5432:*:app:kept\nother\\:1:5432:*:pgadmin:kept\n")
    path.chmod(0o600)
    assert _passfile.write(str(path), [ONE], check=False)[1]
    assert path.read_text().splitlines() == [
        "db:5432:*:pgadmin:a\\:b\\\\c",
        "# mine",
        "db:5432:*:app:kept",
        "other\\:1:5432:*:pgadmin:kept",
    ]
    assert not _passfile.write(str(path), [ONE], check=False)[1]


def test_an_address_with_colons_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    six = ONE._replace(host="2001:db8::1")
    for password in ("one", "two"):
        _passfile.write(str(path), [six._replace(password=password)], check=False)
    assert path.read_text() == "2001\\:db8\\:\\:1:5432:*:pgadmin:two\n"


def test_a_file_that_others_may_read_is_closed(tmp_path: Path) -> None:
    """libpq would ignore it."""
    path = tmp_path / "pgpass"
    path.write_text(ONE.line() + "\n")
    path.chmod(0o644)
    assert _passfile.write(str(path), [ONE], check=True)[1]
    assert _passfile.write(str(path), [ONE], check=False)[1]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == ONE.line() + "\n"


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    assert _passfile.write(str(path), [ONE], check=True)[1]
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="line break") as caught:
        _passfile.write(str(tmp_path / "pgpass"), [ONE._replace(password="top\nsecret")], check=False)
    assert "top" not in str(caught.value)
    with pytest.raises(NotFoundError, match="its folder does not exist"):
        _passfile.write(str(tmp_path / "none" / "pgpass"), [ONE], check=False)
