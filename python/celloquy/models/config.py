"""What every model's configuration has in common: presets, checks, JSON."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, fields, replace
from typing import Any, ClassVar, Self

from celloquy.errors import ArgumentError


class ModelConfig(ABC):
    """Base of the configurations: a frozen dataclass of plain values, one subclass a family.

    A subclass names its :attr:`family` and its :attr:`presets`, has a field ``width`` and says how wide the embedding
    is.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.CellModelConfig.preset("small").embedding_width
    """

    __slots__ = ()

    family: ClassVar[str]
    """Name of the model family, as ``config.json`` has it."""
    presets: ClassVar[dict[str, dict[str, Any]]] = {"mini": {}}
    """Named configurations: the fields that differ from the defaults."""

    width: int
    """Width of the hidden vectors: wide models learn more slowly, and gain from half precision."""

    @property
    @abstractmethod
    def embedding_width(self) -> int:
        """Width of a cell's embedding."""

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return a named configuration.

        Raises
        ------
        ArgumentError
            If there is no such preset.
        """
        if name not in cls.presets:
            raise ArgumentError(
                "There is no such preset.",
                found=repr(name),
                expected=", ".join(map(repr, cls.presets)),
                remedy=f"choose one of these, or build a {cls.__name__}.",
                argument="config",
            )
        return cls(**cls.presets[name])

    def replace(self, **changes: Any) -> Self:
        """Return the configuration with some fields changed."""
        return replace(self, **changes)  # type: ignore[type-var]

    def to_json(self) -> str:
        """Return the configuration as JSON text, the family first."""
        return json.dumps({"family": self.family, **asdict(self)}, indent=2) + "\n"  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read :meth:`to_json`'s text.

        Raises
        ------
        ArgumentError
            If a field is unknown or a value is out of bounds.
        """
        values = json.loads(text)
        values.pop("family", None)
        unknown = sorted(set(values) - {field.name for field in fields(cls)})  # type: ignore[arg-type]
        if unknown:
            raise ArgumentError(
                "The model's configuration has fields that this version of celloquy does not know.",
                found=", ".join(unknown),
                remedy="update celloquy: the model was saved by a newer version.",
            )
        return cls(**{name: _tuples(value) for name, value in values.items()})


def _tuples(value: Any) -> Any:
    """Turn JSON's lists into the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
