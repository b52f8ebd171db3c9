import pytest

import celloquy as cq
from celloquy.runtime.progress import ProgressBar
from examples import cells, small_model


def test_a_listener_gets_every_state_and_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch, capsys):
    heard: list[tuple[str, float, float, str]] = []
    monkeypatch.setattr(ProgressBar, "listener", lambda *state: heard.append(state))
    with ProgressBar(total=10, desc="Counting", mininterval=0) as bar:
        bar.set_postfix({"loss": "1.5"}, refresh=False)
        bar.update(4)
    assert heard[0] == ("Counting", 0, 10, "")
    assert ("Counting", 4, 10, "loss=1.5") in heard
    assert capsys.readouterr() == ("", "")


def test_without_a_listener_the_bar_is_drawn(capsys):
    with ProgressBar(total=10, desc="Counting") as bar:
        bar.update(10)
    assert "Counting: 100%" in capsys.readouterr().err


def test_a_disabled_bar_does_not_call_the_listener(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ProgressBar, "listener", lambda *state: pytest.fail(str(state)))
    with ProgressBar(total=10, desc="Counting", disable=True) as bar:
        bar.update(10)


@pytest.mark.parametrize("attention", ["flow", "softmax", "none"])
def test_an_embedding_counts_cells(monkeypatch, attention):
    heard = []
    monkeypatch.setattr(ProgressBar, "listener", lambda *state: heard.append(state))
    cq.embed(cells(20), model=small_model(attention=attention), tissue_key="sample", batch_size=4)
    task, done, total, _ = heard[-1]
    assert task.startswith("Embedding")
    assert total == 20
    assert done == pytest.approx(20)
