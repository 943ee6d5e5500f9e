"""Read recorded or live answers, whatever their shape: the same code path for files and for live sources."""

from extract.answers.reader import read_answer

__all__ = ["read_answer"]
