"""Threads that wait sleep where other programs work, so that neither takes the cores from the other."""

import os
import subprocess
import sys

import pytest

from celloquy.runtime.threads import let_threads_sleep


@pytest.mark.parametrize(
    ("load", "given", "expected"), [(0.2, None, None), (1.0, None, "PASSIVE"), (9.0, "ACTIVE", "ACTIVE")]
)
def test_waiting_threads_sleep_on_a_busy_machine_unless_the_user_says_otherwise(monkeypatch, load, given, expected):
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if not given:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    let_threads_sleep()
    assert os.environ.get("OMP_WAIT_POLICY") == expected


def test_it_is_settled_when_celloquy_is_imported_and_before_torch_is():
    code = (
        "import os, sys; os.getloadavg = lambda: (99, 0, 0); import celloquy; "
        "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["PASSIVE", "False"]
