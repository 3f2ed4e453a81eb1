"""A folder that leaves the course: the reader's model in one file, the reader's functions, and a client for both."""

from __future__ import annotations

import ast
import builtins
import inspect
import pprint
import shutil
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import checkpoints, gguf, llama_cpp
from ..errors import CourseError
from ..paths import ASSETS

_HEAD = '''"""The functions that a model may call, and how they are declared to it.

``FUNCTIONS`` maps a name to the function that runs, ``TOOLS`` is what the model reads.
"""

from __future__ import annotations
'''


def pack(adapter, functions: Sequence[Callable], tools: list[dict], folder: Path, kind: str = "Q8_0") -> Path:
    """Write model.gguf, my_tools.py, and the client's files into a folder. Returns the folder.

    The model is the base as packaged, merged with the adapter and rounded once, to ``kind``. No noise is added: what
    notebook 05 measures on dithered weights is not this file. Raises CourseError: an adapter that does not fit the
    base, functions whose source cannot be had, an unknown ``kind``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tools(functions, tools, folder / "my_tools.py")
    for name in ("client.py", "function_calls.py", "Modelfile"):
        shutil.copyfile(ASSETS / "take_away" / name, folder / name)
    merged = checkpoints.merge_adapter(checkpoints.ensure("gemma"), adapter)
    f16 = gguf.write_f16(merged, gguf.base_gguf(), folder / "F16.gguf")
    try:
        llama_cpp.quantize(f16, folder / "model.gguf", kind)
    finally:
        f16.unlink()
    return folder


def write_tools(functions: Sequence[Callable], tools: list[dict], path: Path) -> Path:
    """Write functions as they stand in their cell, and their declarations, as a module of its own. Returns its path.

    Raises CourseError for a function whose source cannot be had or that reads a name from outside, and for
    declarations without a function.
    """
    sources = []
    for function in functions:
        try:
            sources.append(textwrap.dedent(inspect.getsource(function)).rstrip())
        except (OSError, TypeError):
            name = getattr(function, "__name__", repr(function))
            raise CourseError(
                f"the source of {name} cannot be had", "define it with def, in a cell or a file"
            ) from None
    named = {function.__name__ for function in functions}
    for function, source in zip(functions, sources, strict=True):
        if foreign := sorted(_read_from_outside(source) - named):
            remedy = "import or define it inside the function"
            raise CourseError(f"{function.__name__} reads {foreign[0]}, which stays behind", remedy)
    if idle := [tool["function"]["name"] for tool in tools if tool["function"]["name"] not in named]:
        raise CourseError(f"{idle[0]} is declared and there is no function for it", "pass its function as well")
    table = ", ".join(f'"{function.__name__}": {function.__name__}' for function in functions)
    declared = pprint.pformat(tools, width=110, sort_dicts=False)
    text = "\n\n\n".join([_HEAD.rstrip(), *sources, f"FUNCTIONS = {{{table}}}\nTOOLS = {declared}"]) + "\n"
    ast.parse(text)
    path.write_text(text, encoding="utf-8")
    return path


def _read_from_outside(source: str) -> set[str]:
    """The names that a function's text reads and neither binds nor finds among Python's own; its hints aside."""
    (made,) = ast.parse(source).body
    if not isinstance(made, ast.FunctionDef | ast.AsyncFunctionDef):
        return set()
    parts = [*made.body, *made.decorator_list, *made.args.defaults, *filter(None, made.args.kw_defaults)]
    nodes = [node for part in parts for node in ast.walk(part)]
    names = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {node.arg for node in ast.walk(made) if isinstance(node, ast.arg)}
    bound |= {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    bound |= {(node.asname or node.name).split(".")[0] for node in nodes if isinstance(node, ast.alias)}
    inner = (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler)
    bound |= {node.name for node in nodes if isinstance(node, inner) and node.name}
    return {node.id for node in names} - bound - vars(builtins).keys()
