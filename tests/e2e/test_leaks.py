# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever looks for leaked passwords finds those that were put there: else their silence would prove nothing."""

from __future__ import annotations

import base64
import secrets

import pytest
from e2e.leaks import Secrets, Watched

PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [vault.yml]
  tasks:
    - name: In what is printed
      ansible.builtin.debug: {msg: "It is {{ word }}"}
      when: "'printed' in places"
    - name: In what is printed, as a Secret shows it
      ansible.builtin.debug: {msg: "It is {{ ('admin:' ~ word) | b64encode }}"}
      when: "'coded' in places"
    - name: In arguments, for a moment
      ansible.builtin.shell: {cmd: "sleep 0.2; true {{ word }}", executable: /bin/sh}
      no_log: true
      changed_when: false
      when: "'arguments' in places"
    - name: In an environment, for a moment
      ansible.builtin.command: sleep 0.2
      environment: {LEAKED: "{{ word }}"}
      no_log: true
      changed_when: false
      when: "'environment' in places"
    - name: In a file that others may read
      ansible.builtin.copy: {content: "{{ word }}", dest: "{{ lookup('env', 'TMPDIR') }}/left", mode: "{{ mode }}"}
      no_log: true
"""


@pytest.fixture
def watched(tmp_path, short_folder):
    """Runs the play, and gives what was found."""
    word = f"pw/{secrets.token_hex(12)}"
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "vault.yml").write_text(f"word: {word}\n")

    def run(*places: str, mode: str = "0600") -> list[str]:
        watch = Watched(short_folder / "watched")
        command = [
            "ansible-playbook",
            "-vvv",
            "--diff",
            str(tmp_path / "play.yml"),
            "-e",
            f"places={','.join(places)} mode={mode}",
        ]
        assert watch.run(command) == 0, watch.text()
        assert any(b"ansible-playbook" in command for command in watch.sampler.arguments), "the sampler saw nothing"
        return watch.findings(Secrets({"the word": word}))

    return run


def test_a_run_that_keeps_its_secrets_is_clean(watched):
    assert watched() == []


def test_every_planted_leak_is_found_where_it_is(watched):
    found = "\n".join(watched("printed", "coded", "arguments", "environment", mode="0644"))
    assert "the word (plain) in output, line" in found
    assert "the word (plain) in ansible.log, line" in found
    assert "the word (base64+0) in output, line" in found, "six bytes stand before it"
    assert "the word (plain) in the arguments of /bin/sh" in found
    assert "the word (plain) in the environment of" in found
    assert "the word (plain) in left, mode 644" in found


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_password_is_found_within_base64_wherever_it_stands(before):
    word = "pw/" + secrets.token_hex(8)
    blob = base64.b64encode(f"{before}{word} and more".encode())
    assert [name[:14] for name in Secrets({"the word": word}).within(blob)] == ["the word (base"]


def test_a_finding_does_not_tell_the_password():
    word = "pw/" + secrets.token_hex(8)
    assert word not in "".join(Secrets({"the word": word}).within(f"{word} pw%2F{word[3:]}".encode()))
