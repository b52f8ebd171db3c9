"""A short run of the fuzzer in tests/fuzz, whose long runs `make fuzz` starts."""

import sys
from pathlib import Path

import pytest
import torch

FUZZ = Path(__file__).parents[1] / "fuzz"

pytestmark = pytest.mark.skipif(not FUZZ.is_dir(), reason="needs the checkout")


@pytest.fixture(scope="module")
def fuzzer():
    """The fuzzer's modules, in this process."""
    sys.path.insert(0, str(FUZZ))
    torch.set_num_threads(1)
    import fuzz
    import kills
    import trained

    trained.all_of_them()
    yield fuzz, kills
    sys.path.remove(str(FUZZ))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", [100_000, 100_040, 100_080, 100_120])
def test_random_inputs_end_with_the_right_result_or_an_error_of_ours(fuzzer, first, tmp_path):
    found = {seed: fuzzer[0].run_one(seed, tmp_path) for seed in range(first, first + 40)}
    assert {seed: (case, wrong) for seed, (case, _, wrong) in found.items() if wrong} == {}


@pytest.mark.filterwarnings("ignore")
def test_a_killed_call_that_is_repeated_ends_with_the_same_bytes(fuzzer, tmp_path):
    kills = fuzzer[1]
    for number, call in enumerate((kills.embed, kills.denoise, kills.save_task, kills.convert)):
        known = kills.prepare(call, tmp_path)
        for seed in range(5 * number, 5 * number + 5):
            assert kills.kill_once(call, seed, tmp_path, known) == ""
