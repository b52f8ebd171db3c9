"""R enters by one door: what it finds there, what that loads, and what it is told."""

import subprocess
import sys

import pytest

from celloquy import bridge
from celloquy.bridge.session import describe_error, record_warnings
from celloquy.bridge.verbs import expected_seconds, fitted_task, training_options
from celloquy.errors import ArgumentError, CountsError, GeneCoverageWarning
from celloquy.training import TrainingOptions


def test_the_door_opens_without_torch_and_anndata():
    code = (
        "import sys, celloquy.bridge as bridge; bridge.version(); bridge.is_torch_loaded(); bridge.describe_error;"
        "print([name for name in ('torch', 'anndata', 'pandas', 'scanpy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_name_of_the_door_leads_somewhere():
    assert dir(bridge)
    for name in dir(bridge):
        assert callable(getattr(bridge, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bridge.nothing  # noqa: B018


def test_errors_are_described_part_by_part():
    ours = describe_error(CountsError("No.", found="nothing", remedy="look."))
    assert ours == {
        "class": "CountsError", "ours": True, "problem": "No.", "found": "nothing", "expected": "", "remedy": "look.",
        "argument": "", "text": "No.\nFound: nothing\nFix: look.",
    }  # fmt: skip
    other = describe_error(ZeroDivisionError("by zero"))
    assert (other["class"], other["ours"], other["text"]) == ("ZeroDivisionError", False, "by zero")


def test_only_warnings_of_celloquy_are_kept():
    import warnings

    recorder = record_warnings()
    warnings.warn("few genes", GeneCoverageWarning, stacklevel=1)
    warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert recorder.stop() == ["few genes"]


def test_options_of_training_come_as_r_has_them():
    options = training_options({"batch_size": 20.0, "learning_rate": 1.0, "patience": None})
    assert (options.batch_size, options.learning_rate, options.patience, options.epochs) == (20, 1.0, None, None)
    assert isinstance(options.batch_size, int)
    usual = TrainingOptions(validation=0.0)
    assert training_options({"epochs": 3.0}, usual) == TrainingOptions(epochs=3, validation=0.0)
    assert training_options(None, usual) == usual
    with pytest.raises(ArgumentError, match=r"`training` has no option `speed`(.|\n)*`learning_rate`"):
        training_options({"speed": 1})


def test_more_cells_take_longer_up_to_the_fewest_epochs():
    assert expected_seconds(80, 230, epochs=1, cores=2) < expected_seconds(80, 230, cores=2)
    assert expected_seconds(10**6, 1000, cores=2) == pytest.approx(10 * expected_seconds(10**5, 1000, cores=2), rel=0.5)


def test_a_folder_without_a_task_has_none(tmp_path):
    assert fitted_task(str(tmp_path)) is None
    (tmp_path / "task.json").write_text("{", encoding="utf-8")
    assert fitted_task(str(tmp_path)) is None
    (tmp_path / "task.json").write_text('{"task":"denoise"}', encoding="utf-8")
    assert fitted_task(str(tmp_path)) == "denoise"
