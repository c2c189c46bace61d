# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stub of vLLM: its options, and its wheel. What it does is in tests/contract/test_vllm.py."""

from __future__ import annotations

import configparser
import zipfile

import pytest
import yaml

from lab.vllm.options import parse, read_config
from lab.vllm.wheel import write

CONFIGS = [
    "model: /var/lib/vllm/models/main/current\nport: '8000'\n",
    "# Ansible managed\n---\nserved-model-name:\n- llama-3-8b\n- 'other: one'\nenable-server-load-tracking: true\n",
    "served_model_name:\n  - llama\nhost: 127.0.0.1  # loopback\nmax-num-seqs: '64'\nquantization: null\nseed:\n",
    'model: "a \\"quoted\\" one"\ndevice-ids: ["GPU-1", "GPU-2"]\nhf-overrides: {"a": 1}\nenforce-eager: false\n',
    '{"model": "tiny", "max-num-seqs": 4}',
]


@pytest.mark.parametrize("text", CONFIGS)
def test_a_config_is_read_as_yaml_reads_it(text):
    assert read_config(text) == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["model\n", "  model: tiny\n", "model:tiny\n", "- tiny\n", "model: tiny\n- more\n"])
def test_a_line_that_is_neither_is_named(text):
    with pytest.raises(ValueError, match=r"line \d is neither"):
        read_config(text)


def test_the_command_line_wins_over_the_file(tmp_path):
    file = tmp_path / "main.yml"
    file.write_text("model: tiny\nmax_num_seqs: 4\nport: 8001\nserved-model-name:\n- a\n- b\n")
    options = parse(["serve", "--config", str(file), "--port", "9000"])
    assert (options.model, options.port, options.max_num_seqs, options.served_model_name) == (
        "tiny",
        9000,
        4,
        ["a", "b"],
    )


@pytest.mark.parametrize("key", ["max-num-sequences", "modell"])
def test_an_unknown_option_ends_with_2(tmp_path, key, capsys):
    file = tmp_path / "main.yml"
    file.write_text(f"{key}: 3\n")
    for arguments in (["--config", str(file)], [f"--{key}", "3"]):
        with pytest.raises(SystemExit) as caught:
            parse(["serve", *arguments])
        assert caught.value.code == 2
        assert f"--{key}" in capsys.readouterr().err


def test_a_file_that_is_not_there_ends_with_2(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["serve", "--config", "/nowhere.yml"])
    assert caught.value.code == 2
    assert "/nowhere.yml" in capsys.readouterr().err


def test_the_wheel_is_the_same_each_time_and_has_the_command(tmp_path):
    (first, digest), (_second, again) = write(tmp_path / "a"), write(tmp_path / "b")
    assert digest == again
    assert first.name == "vllm-0.32.0-py3-none-any.whl"
    with zipfile.ZipFile(first) as archive:
        names = set(archive.namelist())
        commands = configparser.ConfigParser()
        commands.read_string(archive.read("vllm-0.32.0.dist-info/entry_points.txt").decode())
        record = archive.read("vllm-0.32.0.dist-info/RECORD").decode()
    assert commands["console_scripts"]["vllm"] == "vllm.cli:main"
    assert "vllm/cli.py" in names
    assert {line.split(",")[0] for line in record.splitlines()} == names
