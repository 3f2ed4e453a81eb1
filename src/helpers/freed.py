"""What stands where an object was, after a notebook freed its memory: whoever uses the name again is told which section to run."""

from __future__ import annotations

from typing import NoReturn

from .errors import CourseError


class Freed:
    """``model = logits = Freed("4.4")``: the names stay, what they held may go, and every use says that section 4.4 makes them again.

    ``del`` frees as much, but a cell run twice, or out of order, then ends in a NameError that names no remedy. Calls, attributes, items, loops,
    arithmetic and torch's own functions raise CourseError; ``repr`` and ``is`` work, so that a debugger can look.
    """

    def __init__(self, section: str):
        object.__setattr__(self, "_section", section)

    def __repr__(self) -> str:
        return f"<freed, made by section {self._section}>"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # pickle, copy and Jupyter's completion ask for such names and expect this answer
            raise AttributeError(name)
        _refuse(self)


def _refuse(*operands, **_) -> NoReturn:
    section = next(o._section for o in operands if isinstance(o, Freed))
    raise CourseError("what this name held was freed to save memory", f"run section {section} again, then this cell")


_OPERATIONS = "call getitem setitem iter len contains bool float int array matmul rmatmul add radd sub rsub mul rmul truediv rtruediv neg lt le gt ge setattr"
for _name in _OPERATIONS.split():
    setattr(Freed, f"__{_name}__", _refuse)


def _refuse_in_torch(cls, function, types, args=(), kwargs=None) -> NoReturn:
    """torch's own functions, which ask their arguments' types (torch, "Extending PyTorch": ``__torch_function__``)."""
    _refuse(*_flat((*args, *(kwargs or {}).values())))


def _flat(values) -> list:
    return [inner for value in values for inner in (_flat(value) if isinstance(value, list | tuple) else [value])]


Freed.__torch_function__ = classmethod(_refuse_in_torch)
