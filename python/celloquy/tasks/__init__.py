"""What a user asks for."""

from celloquy.tasks.embedding import embed

__all__ = ["embed"]
