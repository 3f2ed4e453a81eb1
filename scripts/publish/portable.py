"""One file from the course's own modules: calls read, checked and run with the standard library alone.

``assets/take_away/function_calls.py`` leaves the course with a reader's model. It is not written a second time: the
modules of ``MODULES`` stand in it as they are, without their imports of each other.
"""

from __future__ import annotations

import ast
import sys

from helpers.paths import ASSETS, ROOT

HELPERS = ROOT / "src" / "helpers"
TARGET = ASSETS / "take_away" / "function_calls.py"
#: Each after those it needs. ``plain_schemas`` stands in for ``schemas/validation``, which needs jsonschema.
MODULES = (
    "errors", "control_tokens", "schemas/declarations", "yours/plain_schemas", "calls", "dispatch", "yours/agent",
)  # fmt: skip
HEAD = '''"""Calls of a FunctionGemma model: read from its text, held to their declarations, run, and answered.

``parse`` reads the calls in a text, ``check_call`` holds one to its declaration, ``dispatch`` runs them, and
``converse`` carries a conversation on until the model answers in words. Nothing but the standard library is needed.

Made by ``python -m scripts.publish`` in the Arabic FunctionGemma course (Apache-2.0) from the course's own modules;
change them, not this file.
"""
'''


def whole() -> str:
    """The file's text. Raises ValueError for modules that do not fit into one: a name twice, a package needed."""
    imports: set[str] = set()
    names: dict[str, str] = {}
    parts = []
    for module in MODULES:
        text = (HELPERS / f"{module}.py").read_text(encoding="utf-8")
        body, needed, defined = _taken_apart(text)
        for name in defined:
            if name in names:
                raise ValueError(f"{name} is defined in {names[name]} and in {module}: rename one")
            names[name] = module
        imports |= needed
        parts.append(f"# --- {module} {'-' * (113 - len(module))}\n\n\n{body}")
    return "\n".join([HEAD, "from __future__ import annotations\n", *_sorted(imports), "", "\n\n\n".join(parts), ""])


def _taken_apart(text: str) -> tuple[str, set[str], set[str]]:
    """A module's text without its docstring and imports; the imports of the standard library; its names."""
    tree, lines = ast.parse(text), text.splitlines()
    needed, defined, gone = set(), set(), set()
    for number, node in enumerate(tree.body):
        docstring = number == 0 and isinstance(node, ast.Expr)
        if docstring or isinstance(node, ast.Import | ast.ImportFrom):
            gone.update(range(node.lineno - 1, node.end_lineno or node.lineno))
        defined.update(_names(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and not (isinstance(node, ast.ImportFrom) and node.level):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
            if module.partition(".")[0] not in sys.stdlib_module_names:
                raise ValueError(f"{module} is no part of the standard library")
            if module != "__future__":
                needed.add(ast.unparse(node))
    kept = "\n".join(line for place, line in enumerate(lines) if place not in gone)
    return kept.strip("\n"), needed, defined


def _names(node: ast.stmt) -> set[str]:
    """What a statement of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return {target.id for target in targets if isinstance(target, ast.Name)}
    return set()


def _sorted(imports: set[str]) -> list[str]:
    """``import`` before ``from``, names of one module in one line."""
    merged: dict[str, set[str]] = {}
    for line in imports:
        if line.startswith("from "):
            module, _, names = line.removeprefix("from ").partition(" import ")
            merged.setdefault(module, set()).update(names.split(", "))
    plain = sorted(line for line in imports if line.startswith("import "))
    return plain + [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(merged.items())]
