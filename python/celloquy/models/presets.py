"""The configuration that a name stands for."""

from __future__ import annotations

from contextlib import suppress

from celloquy.errors import ArgumentError, CheckpointError
from celloquy.models.base import find_family
from celloquy.models.config import ModelConfig

USUAL_FAMILY = "cellplm"
"""Family of a configuration that is given by the name of a preset without one."""


def resolve_config(config: ModelConfig | str) -> ModelConfig:
    """Return a configuration, or the preset that a name stands for, such as ``"mini"`` or ``"genecompass/mini"``.

    Raises
    ------
    ArgumentError
        If it is neither.
    """
    usual = find_family(USUAL_FAMILY).config_class
    if isinstance(config, str):
        family, _, preset = config.rpartition("/")
        with suppress(CheckpointError):
            return (find_family(family).config_class if family else usual).preset(preset)
    if not isinstance(config, ModelConfig):
        raise ArgumentError(
            "`config` can't be used.",
            found=repr(config) if isinstance(config, str) else f"an object of type {type(config).__name__}",
            expected=f"{', '.join(map(repr, usual.presets))}, family and preset, or a configuration, such as "
            f"{usual.__name__}",
            remedy="pass one of these.",
            argument="config",
        )
    return config
