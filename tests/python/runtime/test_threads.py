"""Threads that wait sleep where other programs work, so that neither takes the cores from the other."""

import os
import subprocess
import sys
import time

import pytest

from celloquy.runtime import threads


@pytest.mark.parametrize(
    ("running", "given", "expected"), [(0, None, None), (1, None, "PASSIVE"), (9, "ACTIVE", "ACTIVE")]
)
def test_waiting_threads_sleep_on_a_busy_machine_unless_the_user_says_otherwise(monkeypatch, running, given, expected):
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if not given:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(threads, "others_running", lambda: running)
    threads.let_threads_sleep()
    assert os.environ.get("OMP_WAIT_POLICY") == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("0.20 0.18 0.12 3/80 11206", 2), ("9.00 8.00 7.00 1/80 1", 0), ("", 0), (None, 0)]
)
def test_what_runs_now_is_counted_and_not_what_ran_before(monkeypatch, tmp_path, text, expected):
    file = tmp_path / "loadavg"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(threads, "RUNNING", file)
    assert threads.others_running() == expected


@pytest.mark.skipif(not threads.RUNNING.exists(), reason="Linux tells what runs")
def test_it_is_settled_when_celloquy_is_imported_and_before_torch_is():
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    code = "import celloquy, os, sys; print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    try:
        time.sleep(0.5)
        done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    finally:
        for one in busy:
            one.kill()
            one.wait()
    assert done.stdout.split() == ["PASSIVE", "False"]
