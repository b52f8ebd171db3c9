"""The loop lowers the loss, keeps the best epoch, stops early, follows its learning rate and ends cleanly."""

import math

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from celloquy.errors import ArgumentError
from celloquy.training.loop import Objective, Schedule, Step, train


class Line(Objective):
    """Fits y = 2x, and records the progress of the training."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)
        self.recorded = []

    def forward(self, x, y):
        if self.training:
            self.recorded.append(self.progress)
        loss = (self.line(x) - y).square().mean()
        return {"loss": loss, "twice": 2 * loss}


class Points:
    """Two minibatches of six and four points an epoch, and two held-out points."""

    def __init__(self, held_out=2, targets=lambda epoch, x: 2 * x):
        self.held_out, self.targets = held_out, targets

    def __len__(self):
        return 10

    def epoch(self, number, rank=0, processes=1, first=0):
        x = torch.linspace(-1, 1, 10)[:, None]
        for part in (x[:6], x[6:])[first:]:
            yield Step(len(part), [(part, self.targets(number, part))])

    def validation(self, rank=0, processes=1):
        x = torch.tensor([[0.5], [-0.25]])
        yield x, 2 * x


def run(schedule, data=None, on_epoch=lambda records, better: None, progress=False):
    torch.manual_seed(0)
    objective = Line()
    fabric = Fabric(accelerator="cpu", devices=1)
    records = train(objective, data or Points(), schedule, fabric=fabric, progress=progress, on_epoch=on_epoch)
    return objective, records


def test_training_lowers_the_loss_and_records_every_epoch():
    objective, records = run(Schedule(epochs=60, learning_rate=0.1, weight_decay=0.0))
    assert [record["epoch"] for record in records] == list(range(1, 61))
    assert set(records[0]) == {"epoch", "loss", "twice", "learning_rate", "validation", "seconds", "waited"}
    assert records[-1]["validation"] < 1e-3 < records[0]["validation"]
    assert objective.line.weight.item() == pytest.approx(2, abs=0.1)
    assert all(record["twice"] == pytest.approx(2 * record["loss"]) for record in records)


def test_figures_are_means_over_cells_not_over_batches():
    _, records = run(Schedule(epochs=1, learning_rate=1e-12))
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 10)[:, None]
    assert records[0]["loss"] == pytest.approx(Line()(x, 2 * x)["loss"].item(), rel=1e-5)


def test_learning_rate_rises_then_falls_to_zero():
    _, records = run(Schedule(epochs=50, learning_rate=0.1, warmup=0.2))
    rates = [record["learning_rate"] for record in records]
    peak = rates.index(max(rates))
    assert 8 <= peak <= 11
    assert max(rates) == pytest.approx(0.1, rel=0.02)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] < 1e-3


def test_the_objective_knows_how_far_the_training_is():
    objective, _ = run(Schedule(epochs=4, learning_rate=0.01))
    assert objective.recorded == pytest.approx([0, 0.15, 0.25, 0.4, 0.5, 0.65, 0.75, 0.9])


def worse_after(epoch):
    return Points(targets=lambda number, x: 2 * x if number < epoch else -5 * x)


def test_the_best_epoch_is_kept_and_patience_ends_the_training():
    is_best = []
    objective, records = run(
        Schedule(epochs=100, learning_rate=0.1, patience=3, weight_decay=0.0),
        worse_after(8),
        lambda records, better: is_best.append(better),
    )
    best = min(range(len(records)), key=lambda number: records[number]["validation"])
    assert len(records) == best + 4 < 20
    assert is_best[best]
    assert not any(is_best[best + 1 :])
    x = torch.tensor([[0.5], [-0.25]])
    assert objective(x, 2 * x)["loss"].item() == pytest.approx(records[best]["validation"], rel=1e-5)


def test_without_validation_the_last_epoch_is_kept():
    kept = []
    _, records = run(
        Schedule(epochs=5, learning_rate=0.1, patience=1), Points(0), lambda _, better: kept.append(better)
    )
    assert kept == [True] * 5
    assert "validation" not in records[0]


def test_an_interrupt_leaves_the_best_weights():
    states, records = [], []

    def interrupt(so_far, better):
        records[:] = so_far
        if better:
            states[:] = [{name: tensor.clone() for name, tensor in objective.state_dict().items()}]
        if len(so_far) == 12:
            raise KeyboardInterrupt

    torch.manual_seed(0)
    objective = Line()
    with pytest.raises(KeyboardInterrupt):
        train(
            objective,
            worse_after(8),
            Schedule(epochs=100, learning_rate=0.1),
            fabric=Fabric(accelerator="cpu", devices=1),
            progress=False,
            on_epoch=interrupt,
        )
    assert len(records) == 12
    assert all(torch.equal(tensor, states[0][name]) for name, tensor in objective.state_dict().items())


def test_a_loss_that_is_not_finite_is_an_error_with_a_remedy():
    broken = Points(targets=lambda epoch, x: x * (math.nan if epoch == 2 else 1))
    with pytest.raises(ArgumentError, match="diverged") as caught:
        run(Schedule(epochs=5, learning_rate=0.1), broken)
    assert "learning_rate" in caught.value.remedy
    assert caught.value.argument == "learning_rate"


def test_weight_decay_is_for_weight_matrices_only():
    objective, _ = run(Schedule(epochs=60, learning_rate=0.1, weight_decay=5.0), Points(0, lambda _, x: 0 * x + 1))
    assert abs(objective.line.weight.item()) < 0.05
    assert objective.line.bias.item() == pytest.approx(1, abs=0.1)


def test_progress_shows_loss_and_speed_or_nothing(capsys):
    schedule = Schedule(epochs=2, learning_rate=0.1)
    run(schedule)
    assert capsys.readouterr() == ("", "")
    run(schedule, progress=True)
    shown = capsys.readouterr().err
    assert "cells/s" in shown
    assert "validation=" in shown


def test_the_progress_bar_starts_no_thread():
    import threading

    before = threading.active_count()
    run(Schedule(epochs=2, learning_rate=0.1), progress=True)
    assert threading.active_count() == before
