"""Ways to predict a perturbation that was never measured, from others and from what is known of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from celloquy.tasks.responses.conditions import Condition
from celloquy.tasks.responses.kinship import Kinship, circumstances
from celloquy.tasks.responses.profiles import Changes

Matrix = NDArray[np.float64]
Way = Callable[[Changes, Sequence[Condition], Kinship], Matrix]
"""From what was measured and the conditions that are asked for to changes, ``(conditions, genes)``."""

AXES: Final = 10
"""Principal components of the linear model of Ahlmann-Eltze et al. 2025."""
RIDGE: Final = 0.1
"""Its strength of the ridge."""
STRENGTHS: Final = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Strengths of the ridge that are tried, relative to the mean likeness of a perturbation to itself."""
NEIGHBOURS: Final = 5
LINKS: Final = 10
"""Perturbations that each is linked with in a graph, at most."""
STEP: Final = 0.5
"""Weight of a walk on the graph relative to one that is a step shorter."""
SPREAD: Final = 0.5
"""Squared distance of two descriptions at which the smooth way takes them to be hardly alike."""


def no_change(train: Changes, asked: Sequence[Condition], _: Kinship) -> Matrix:
    """No perturbation does anything."""
    return np.zeros((len(asked), len(train.genes)))


def mean(train: Changes, asked: Sequence[Condition], _: Kinship) -> Matrix:
    """Mean of the measured perturbations, those of the same context and a like dose above all."""
    weights = circumstances(asked, train.conditions) * train.weights
    return np.asarray(weights / weights.sum(1, keepdims=True).clip(1e-12) @ train.values)


def linear(train: Changes, asked: Sequence[Condition], kinship: Kinship) -> Matrix:
    """The linear model of Ahlmann-Eltze et al. 2025: genes and perturbations by the same principal components.

    ``G`` are the scores of genes in the principal components of the measured perturbations, the vector of a perturbed
    gene is its row, and ``W`` between them is fitted with a ridge.
    """
    base = mean(train, train.conditions, kinship)
    scores = _gene_scores(train)
    fitted, own = (_rows_of(train, scores, some) for some in (train.conditions, asked))
    left = np.linalg.solve(scores.T @ scores + RIDGE * np.eye(scores.shape[1]), scores.T @ (train.values - base).T)
    right = fitted.T @ fitted + RIDGE * np.eye(scores.shape[1])
    weights = np.linalg.solve(right, (left @ fitted).T).T
    return np.asarray(mean(train, asked, kinship) + own @ weights.T @ scores.T)


def own_gene(train: Changes, asked: Sequence[Condition], _: Kinship) -> Matrix:
    """Change of the perturbed gene itself: its level in control times a share that measured perturbations tell."""
    place = {gene: at for at, gene in enumerate(train.genes)}

    def own(condition: Condition) -> list[int]:
        return [place[part] for part in condition.parts if part in place]

    pairs = [(row, at) for row, condition in enumerate(train.conditions) for at in own(condition)]
    levels = np.array([train.control_of(train.conditions[row].context)[at] for row, at in pairs])
    changes = np.array([train.values[row, at] for row, at in pairs])
    share, whole = 0.0, 0.0
    if len(pairs):
        if (levels > 0).any():
            share = float(levels @ changes / max(levels @ levels, 1e-12))
        whole = float(changes.mean())
    found = np.zeros((len(asked), len(train.genes)))
    for row, condition in enumerate(asked):
        level = train.control_of(condition.context) if condition.context in train.contexts else None
        for at in own(condition):
            # A gene that is silent in control can't fall: what is activated rises by as much as others did.
            found[row, at] = whole if share >= 0 or level is None else share * level[at]
    return found


def nearest(number: int) -> Way:
    """Return the way that takes the mean of the measured perturbations of which the most alike is known."""

    def way(train: Changes, asked: Sequence[Condition], kinship: Kinship) -> Matrix:
        likeness = _all_sources(kinship, asked, train.conditions) * circumstances(asked, train.conditions)
        found = np.zeros((len(asked), len(train.genes)))
        base = mean(train, asked, kinship)
        for row, alike in enumerate(likeness):
            best = np.argsort(-alike, kind="stable")[:number]
            weights = alike[best].clip(0) * train.weights[best]
            # What is like nothing is like the mean.
            found[row] = weights / weights.sum() @ train.values[best] if weights.sum() > 0 else base[row]
        return found

    return way


def ridge(source: str) -> Way:
    """Return the way of a regression with a ridge on the features of one source."""

    def way(train: Changes, asked: Sequence[Condition], kinship: Kinship) -> Matrix:
        first, second = kinship.of(source, train.conditions), kinship.of(source, asked)
        fitted = np.asarray((first @ first.T).todense())
        between = np.asarray((second @ first.T).todense())
        return _kernel_ridge(train, asked, kinship, *_centred(fitted, between))

    return way


def all_sources(train: Changes, asked: Sequence[Condition], kinship: Kinship) -> Matrix:
    """A regression with a ridge on all that is known of perturbations, each source with the same say."""
    fitted = _all_sources(kinship, train.conditions, train.conditions)
    return _kernel_ridge(
        train, asked, kinship, *_centred(fitted, _all_sources(kinship, asked, train.conditions))
    )  # fmt: skip


def graph(train: Changes, asked: Sequence[Condition], kinship: Kinship) -> Matrix:
    """A regression on a graph: what is learned of a perturbation spreads along the links of like ones.

    That is what the layers of a graph network over perturbations do (GEARS, Roohani et al. 2024), without weights of
    their own: two perturbations are alike by the walks of any length between them, and a ridge does the rest.
    """
    known = list({one.parts: one for one in train.conditions}.values())
    likeness = _all_sources(kinship, known, known)
    np.fill_diagonal(likeness, 0)
    links = _strongest(likeness)
    links = np.maximum(links, links.T)
    size = np.sqrt(links.sum(1).clip(1e-12))
    walks = np.linalg.inv(np.eye(len(known)) - STEP * links / size[:, None] / size)
    first = _strongest(_all_sources(kinship, asked, known))
    between = STEP * first / first.sum(1, keepdims=True).clip(1e-12) @ walks
    place = {one.parts: at for at, one in enumerate(known)}
    rows = [place[one.parts] for one in train.conditions]
    return _kernel_ridge(train, asked, kinship, *_centred(walks[np.ix_(rows, rows)], between[:, rows]))


def smooth(train: Changes, asked: Sequence[Condition], kinship: Kinship) -> Matrix:
    """A regression that is not linear in what is known: perturbations act alike if their descriptions are near.

    Unlike the others it does not start from the mean: what is like nothing that was measured changes nothing.
    """

    def bent(likeness: Matrix) -> Matrix:
        return np.asarray(np.exp((likeness - 1) / SPREAD))

    fitted = bent(_all_sources(kinship, train.conditions, train.conditions))
    between = bent(_all_sources(kinship, asked, train.conditions))
    return _kernel_ridge(train, asked, kinship, fitted, between, start=no_change)


def ways(kinship: Kinship, genes: Sequence[str]) -> dict[str, Way]:
    """Return the ways that can be tried for perturbations that were never measured, by name."""
    found: dict[str, Way] = {"no change": no_change, "mean": mean}
    if set(kinship.names) & set(genes):
        found |= {"own gene": own_gene, "linear": linear}
    if kinship.features:
        found |= {"nearest": nearest(1), f"nearest {NEIGHBOURS}": nearest(NEIGHBOURS)}
        found |= {f"ridge: {source}": ridge(source) for source in kinship.features}
        if len(kinship.features) > 1:
            found |= {"ridge: all": all_sources}
        found |= {"graph": graph, "smooth": smooth}
    return found


def _all_sources(kinship: Kinship, some: Sequence[Condition], others: Sequence[Condition]) -> Matrix:
    """Mean over sources of the likeness of perturbations, ``(some, others)``."""
    total = np.zeros((len(some), len(others)))
    for source in kinship.features:
        total += np.asarray((kinship.of(source, some) @ kinship.of(source, others).T).todense())
    return total / max(1, len(kinship.features))


def _strongest(likeness: Matrix) -> Matrix:
    """The strongest links of each row; none where nothing is alike."""
    if not likeness.size:
        return likeness
    least = np.sort(likeness, axis=1)[:, -min(LINKS, likeness.shape[1])][:, None]
    return np.where((likeness >= least) & (likeness > 0), likeness, 0.0)


def _centred(fitted: Matrix, between: Matrix) -> tuple[Matrix, Matrix]:
    """Products of features, from products of features that are not centred on the mean of those learned from."""
    means = fitted.mean(0)
    middle = float(fitted.mean())
    return (
        fitted - means[:, None] - means[None] + middle,
        between - between.mean(1, keepdims=True) - means[None] + middle,
    )


def _kernel_ridge(
    train: Changes, asked: Sequence[Condition], kinship: Kinship, fitted: Matrix, between: Matrix, start: Way = mean
) -> Matrix:
    """Regression of what differs from the start; the strength is that by which left-out conditions are told best."""
    fitted = fitted * circumstances(train.conditions, train.conditions)
    between = between * circumstances(asked, train.conditions)
    rest = train.values - start(train, train.conditions, kinship)
    root = np.sqrt(train.weights.clip(1e-6))
    level, axes = eigh(root[:, None] * fitted * root[None])
    scale = max(float(np.diag(fitted).mean()), 1e-12)
    products = axes.T @ (root[:, None] * rest)
    products = products @ products.T
    errors = []
    for strength in STRENGTHS:
        inverse = 1 / (level.clip(0) + strength * scale)
        solved = axes * inverse
        # Residuals of conditions that were left out, in closed form.
        residual = np.einsum("ij,jk,ik->i", solved, products, solved)
        errors.append(float((residual / (solved * axes).sum(1).clip(1e-12) ** 2).sum()))
    inverse = 1 / (level.clip(0) + STRENGTHS[int(np.argmin(errors))] * scale)
    weights = (between * root[None]) @ (axes * inverse) @ axes.T * root[None]
    return np.asarray(start(train, asked, kinship) + weights @ rest)


def _gene_scores(train: Changes) -> Matrix:
    """Scores of genes in the principal components of the perturbed and control profiles, ``(genes, components)``."""
    control = np.stack([train.control_of(one.context) for one in train.conditions])
    profiles = np.concatenate([train.values + control, control[:1]]).T
    profiles = profiles - profiles.mean(0)
    number = min(AXES, profiles.shape[1] - 1, len(profiles) - 1)
    _, axes = eigh(profiles.T @ profiles)
    return np.asarray(profiles @ axes[:, ::-1][:, : max(1, number)])


def _rows_of(train: Changes, scores: Matrix, conditions: Sequence[Condition]) -> Matrix:
    """Vectors of perturbations: rows of the perturbed genes, of a combination their sum; 0 of what is not measured."""
    place = {gene: at for at, gene in enumerate(train.genes)}
    rows = [[place[part] for part in condition.parts if part in place] for condition in conditions]
    return np.stack([scores[own].sum(0) if own else np.zeros(scores.shape[1]) for own in rows])
