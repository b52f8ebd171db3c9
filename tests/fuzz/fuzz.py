"""Fuzz celloquy: ``make fuzz N=10000 SEED=1`` runs the seeds 1 to 10000, one input each; ``N=1`` runs one again."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

for place in ("python", "fuzz"):
    sys.path.insert(0, str(Path(__file__).parents[1] / place))

import numpy as np  # noqa: E402

NONE = "no object"
"""End of a case whose object its own library can't make: no input."""

LONGEST = 120
"""Seconds after which a case counts as one that hangs."""


def case_of(seed: int) -> Callable[[int, Path], str]:
    """The case that a seed draws."""
    import arguments
    import cases
    import damage
    import evidence_calls
    import files
    import gene_calls
    import response_calls
    import response_tables

    modules = (cases, arguments, files, damage, gene_calls, evidence_calls, response_calls, response_tables)
    drawn = [case for module in modules for case in module.CASES]
    weights = np.array([weight for weight, _ in drawn], dtype=float)
    # Another stream than that of the specimen.
    return drawn[np.random.default_rng([seed, 1]).choice(len(drawn), p=weights / weights.sum())][1]


def run_one(seed: int, folder: Path) -> tuple[str, str, str]:
    """Run the case of a seed in an empty folder; return the name of the case, how it ended, and what was wrong."""
    from judge import NoObject, Wrong

    case, work = case_of(seed), folder / "work"
    work.mkdir()
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LONGEST)
    try:
        with warnings.catch_warnings(action="ignore"):
            return case.__name__, case(seed, work), ""
    except NoObject:
        return case.__name__, NONE, ""
    except Wrong as wrong:
        return case.__name__, "wrong", str(wrong)
    except Exception:
        # A defect of the fuzzer itself, or of what it compares with.
        return case.__name__, "wrong", f"outside of the call: {traceback.format_exc()}"
    finally:
        signal.alarm(0)
        shutil.rmtree(work, ignore_errors=True)


def too_long(*_: object) -> None:
    raise TimeoutError(f"longer than {LONGEST} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1000, help="number of inputs")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first")
    parser.add_argument("--only", default="", help="name of the only case")
    options = parser.parse_args()
    import torch

    import trained

    torch.set_num_threads(1)
    with warnings.catch_warnings(action="ignore"):
        trained.all_of_them()
    seeds = [seed for seed in range(options.seed, options.seed + options.n) if options.only in case_of(seed).__name__]
    began, ends, failed = time.monotonic(), Counter[tuple[str, str]](), list[int]()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    # What is known of files is kept in the cache folder of the user.
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    try:
        for seed, case, end, wrong in in_processes(seeds, folder):
            ends[case, end] += 1
            if wrong:
                failed.append(seed)
                print(f"\nseed {seed}, {case}: {wrong}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for case in sorted({case for case, _ in ends}):
        counts = {end: count for (name, end), count in sorted(ends.items()) if name == case}
        print(f"{case:24} {sum(counts.values()):6,}  " + ", ".join(f"{end} {n:,}" for end, n in counts.items()))
    seconds = time.monotonic() - began
    made = len(seeds) - sum(count for (_, end), count in ends.items() if end == NONE)
    print(f"{made:,} inputs, seeds {seeds[0]} to {seeds[-1]}, {seconds:.0f} s: {len(failed)} failures {failed[:50]}")
    return 1 if failed else 0


def in_processes(seeds: list[int], folder: Path):
    """Run all seeds in a process that is started anew if an input ends it."""
    todo = list(seeds)
    while todo:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            with os.fdopen(writing, "w") as pipe:
                for seed in todo:
                    case, end, wrong = run_one(seed, folder)
                    pipe.write(repr((seed, case, end, wrong)) + "\n")
                    pipe.flush()
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            for line in pipe:
                seed, case, end, wrong = eval(line)
                todo.remove(seed)
                yield seed, case, end, wrong
        _, status = os.waitpid(child, 0)
        shutil.rmtree(folder / "work", ignore_errors=True)
        if todo:
            seed = todo.pop(0)
            yield seed, case_of(seed).__name__, "wrong", f"it ended the process: status {status}"


if __name__ == "__main__":
    sys.exit(main())
