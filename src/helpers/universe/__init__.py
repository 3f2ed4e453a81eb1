"""A thousand tools in families, as their writers left them, and the rows drawn from them when they are loaded.

``families`` reads the files, ``spans`` turns marked words into gold calls, ``declaring`` puts a declaration into other
words, ``drawing`` draws rows.
"""

from .drawing import asks, rows, today_line
from .families import SPLITS, Tool, Utterance, read, split_of

__all__ = ["SPLITS", "Tool", "Utterance", "asks", "read", "rows", "split_of", "today_line"]
