"""JSON values of strangers: out of layers of encoding, without Arrow's nulls, and nothing that JSON does not hold."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from ..errors import CourseError

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_LAYERS = 4  # of JSON text inside JSON text


def refuse(reason: str, told: str = "", remedy: str = "drop the row") -> NoReturn:
    """Raise the CourseError of a row that cannot be used; ``reason``, which rows are counted by, has no particulars."""
    raise CourseError(told or reason, remedy, reason)


def plain(value: Any, keep_nulls: bool = False) -> Any:
    """A value that JSON holds, with lists for tuples and arrays.

    Without the nulls that Arrow adds when it unites the fields of many rows into one struct, unless ``keep_nulls``.
    Raises CourseError for NaN, infinity, dates, bytes, images and other objects, keys that are no text, and text that
    no file can hold.
    """
    if hasattr(value, "tolist"):  # numpy's, out of pandas
        value = value.tolist()
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            refuse("a key is no text")
        return {key: plain(item, keep_nulls) for key, item in value.items() if keep_nulls or item is not None}
    if isinstance(value, list | tuple):
        return [plain(item, keep_nulls) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        refuse("a number is NaN or infinite")
    if isinstance(value, str) and not value.isascii() and _HALF_CHARACTER.search(value):
        refuse("text holds a lone surrogate, half a character")
    if value is not None and not isinstance(value, str | bool | int | float):
        refuse(f"a value is of type {type(value).__name__}, which JSON does not have")
    return value


def decoded(value: Any, form: type, reason: str) -> Any:
    """A list or dict (``form``), out of however many layers of JSON text; None and empty text are an empty one.

    Nulls that JSON text holds in a list stay. Raises CourseError, for ``reason``, for anything else.
    """
    keep_nulls = False
    for _ in range(_LAYERS):
        if not isinstance(value, str):
            break
        keep_nulls = form is list  # Arrow has added none here
        try:
            value = json.loads(value) if value.strip() else None
        except ValueError:
            refuse(reason)
    value = plain(value, keep_nulls)
    if not isinstance(value, form) and value is not None:
        refuse(reason)
    return form() if value is None else value
