"""What a user asks for."""

from celloquy.tasks.embed import embed

__all__ = ["embed"]
