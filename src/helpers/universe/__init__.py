"""A thousand tools in families, as their writers left them, and the rows drawn from them when they are loaded.

``families`` reads the files, ``spans`` turns marked words into gold calls, ``declaring`` puts a declaration into other
words, ``drawing`` draws rows.
"""

from .drawing import asks, rows, today_line, training_rows
from .families import ARABIC, ENGLISH, SPLITS, Tool, Utterance, by_split, read, split_of
from .spans import resolve_date

__all__ = ["ARABIC", "ENGLISH", "SPLITS", "Tool", "Utterance", "asks", "by_split", "read", "resolve_date", "rows",
           "split_of", "today_line", "training_rows"]  # fmt: skip
