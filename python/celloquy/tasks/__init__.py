"""What a user asks for: one room a task, each with any model that can do what the task needs."""

from celloquy.tasks.base import Task
from celloquy.tasks.embedding import embed

__all__ = ["Task", "embed"]
