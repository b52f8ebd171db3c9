"""What a pretraining leaves in its folder: the best weights so far, the history, and figures for TensorBoard."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from celloquy.errors import DiskError
from celloquy.models import Model
from celloquy.models.checkpoint import save_files
from celloquy.models.directory import kept_elsewhere
from celloquy.runtime.resume import replace_file
from celloquy.training.loop import EpochRecord

HISTORY = "history.csv"

SAVE_EVERY = 30.0
"""Least number of seconds between two savings of the best weights during the training."""


class Keeper:
    """Keeps the best weights and the history of a training, in a folder if one is given."""

    def __init__(self, model: Model, folder: Path | None, provenance: dict[str, str]) -> None:
        self.model, self.folder, self.provenance = model, folder, provenance
        self.records: list[EpochRecord] = []
        self.saved, self.logged = -math.inf, 0
        self.finished = False
        """True once the training is complete."""

    def on_epoch(self, records: list[EpochRecord], better: bool) -> None:
        """Keep the records, and the weights if they are the best."""
        self.records = records
        if self.folder is None:
            return
        # What can't be written now may be written at the end, and else is kept elsewhere.
        with suppress(DiskError):
            if better and time.monotonic() - self.saved > SAVE_EVERY:
                self._save()
            self._write_history()

    def finish(self, seconds: float) -> None:
        """Keep the history, and save the model, which has the weights of the best epoch by now."""
        self.model.history = pd.DataFrame(self.records)
        if not self.records:
            return
        self.provenance["seconds"] = f"{seconds:.0f}"
        with kept_elsewhere("The trained model", self.model.save):
            # The model last: it says that the training is complete.
            self._write_history()
            self._save()

    def _save(self) -> None:
        score = "validation" if "validation" in self.records[-1] else "epoch"
        best = (min if score == "validation" else max)(self.records, key=lambda record: record[score])
        self.provenance |= {"epoch": f"{best['epoch']:.0f} of {len(self.records)}"}
        shown = {"loss": "training loss", "validation": "validation loss"}
        self.provenance |= {shown[name]: f"{best[name]:.4f}" for name in shown if name in best}
        self.model.provenance = dict(self.provenance)
        if self.folder is not None:
            save_files(self.folder, self.model.write, overwrite=True, finished=self.finished)
            self._log_to_tensorboard(self.folder / "tensorboard")
            self.saved = time.monotonic()

    def _log_to_tensorboard(self, folder: Path) -> None:
        if find_spec("tensorboard") is None:
            return
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(folder)) as writer:
            for record in self.records[self.logged :]:
                for name, value in record.items():
                    if name != "epoch":
                        writer.add_scalar(name, value, int(record["epoch"]))
        self.logged = len(self.records)

    def _write_history(self) -> None:
        if self.folder is not None and self.folder.exists():
            file = self.folder / HISTORY
            try:
                with replace_file(file) as new:
                    pd.DataFrame(self.records).to_csv(new, index=False)
            except OSError as error:
                raise DiskError.of(file, error) from error
