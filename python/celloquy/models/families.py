"""The model families: which class reads a configuration, and how a family is added."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from celloquy.errors import ArgumentError, CheckpointError, some
from celloquy.models.config import ModelConfig

if TYPE_CHECKING:
    from celloquy.models.base import Model

Family = TypeVar("Family", bound="type[Model]")

_FAMILIES: dict[str, type[Model]] = {}

USUAL = "cellplm"
"""Family of a configuration that is given by the name of a preset alone."""


def register_family(model: Family) -> Family:
    """Make a family known, as a decorator of its model; ``model.config_class.family`` is its name."""
    _FAMILIES[model.config_class.family] = model
    return model


def find_family(name: str) -> type[Model]:
    """Return the model class of a family.

    Raises
    ------
    CheckpointError
        If no family has this name.
    """
    if name not in _FAMILIES:
        raise CheckpointError(
            "The model is of a family that celloquy does not know.",
            found=repr(name),
            expected=some(map(repr, sorted(_FAMILIES))),
            remedy="update celloquy, or import the package that registers this family.",
        )
    return _FAMILIES[name]


def resolve_config(config: ModelConfig | str) -> ModelConfig:
    """Return a configuration, or the preset that a name stands for.

    Raises
    ------
    ArgumentError
        If it is neither.
    """
    usual = find_family(USUAL).config_class
    if isinstance(config, str):
        return usual.preset(config)
    if not isinstance(config, ModelConfig):
        raise ArgumentError(
            "`config` can't be used.",
            found=f"an object of type {type(config).__name__}",
            expected=f"{', '.join(map(repr, usual.presets))} or a configuration such as {usual.__name__}",
            remedy="pass one of these.",
            argument="config",
        )
    return config
