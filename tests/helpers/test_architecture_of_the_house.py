"""The house stays small: which room may know which, and how large a room may be."""

import ast
import sys
from graphlib import TopologicalSorter

import pytest

from helpers.paths import ROOT

PACKAGE = ROOT / "src" / "helpers"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py" or "\nfrom ." in path.read_text(encoding="utf-8")
}
HEAVY = {
    "torch",
    "transformers",
    "trl",
    "unsloth",
    "peft",
    "datasets",
    "matplotlib",
    "pandas",
    "scipy",
    "sklearn",
    "statsmodels",
    "bitsandbytes",
    "gguf",
}
#: Lines at most, of the top and of each inner room; a third of ``figures`` are the course's diagrams.
BUDGET = {"": 5000, "probes": 1760, "figures": 1800, "checks": 800, "conversions": 520, "schemas": 700, "universe": 870,
          "yours": 950}  # fmt: skip


def imports(name: str, everywhere: bool = True) -> set[str]:
    """The modules of the package that a module imports; ``everywhere`` counts imports inside functions, too."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    found, room = set(), name.split(".") if MODULES[name].name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*room[: len(room) - node.level + 1], *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                full = ".".join([*base, alias.name])
                found.add(full if full in MODULES else ".".join(base))
    return {one for one in found if one in MODULES}


def test_imports_run_one_way():
    """No module imports, at its top or in a function, one that imports it, by whatever detour."""
    order = list(TopologicalSorter({name: imports(name) for name in MODULES}).static_order())
    assert order.index("errors") < order.index("chat") < order.index("training")


def test_the_package_knows_nothing_of_those_who_make_the_course():
    for name, path in MODULES.items():
        names = {
            n.module or ""
            for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(n, ast.ImportFrom)
        }
        assert not any(module.split(".")[0] in ("scripts", "tests") for module in names), name


def test_our_own_modules_are_imported_at_the_top_and_heavy_libraries_inside_functions():
    for name, path in MODULES.items():
        assert imports(name) == imports(name, everywhere=False), f"{name} imports a module of ours inside a function"
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            tops = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom) and not node.level
                else []
            )
            assert not {top.split(".")[0] for top in tops} & HEAVY, f"{name} imports {tops} at its top"


def test_what_the_first_cell_imports_needs_nothing_that_it_is_to_install():
    """``setup`` and all modules behind it; packaging comes with pip's neighbours, as on Colab."""
    reached, left = set(), {"setup"}
    while left:
        name = left.pop()
        reached.add(name)
        left |= imports(name) - reached
        for node in ast.parse(MODULES[name].read_text(encoding="utf-8")).body:
            tops = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            tops += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            strangers = {top.split(".")[0] for top in tops} - sys.stdlib_module_names - {"packaging"}
            assert not strangers, f"{name} imports {strangers} at its top"
    assert {"environment", "checkpoints", "dataset"} <= reached


@pytest.mark.parametrize("room", BUDGET)
def test_a_room_stays_within_its_lines(room):
    paths = [path for name, path in MODULES.items() if ".".join(name.split(".")[:-1]) == room]
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert sum(lines.values()) <= BUDGET[room] and max(lines.values(), default=0) <= 350, lines
    assert len(paths) <= 26


def test_a_function_fits_a_screen():
    for path in [*MODULES.values(), *(ROOT / "scripts").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path.name}: {node.name}"


def test_the_package_unpickles_nothing():
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    for word in (
        "pickle.load",
        "torch.load(",
        "joblib",
        "eval(",
        "exec(",
        "weights_only=False",
        "trust_remote_code=True",
    ):
        assert word.replace("eval(", " eval(").replace("exec(", " exec(") not in source, word


def public(body: list, prefix: str):
    """(dotted name, node) of every public function, class and method."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{prefix}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}.{node.name}")


def raised(function: ast.FunctionDef) -> set[str]:
    """Names of the exception classes that a function raises itself."""
    found = [node.exc for node in ast.walk(function) if isinstance(node, ast.Raise) and node.exc]
    return {ast.unparse(one.func if isinstance(one, ast.Call) else one) for one in found}


@pytest.mark.parametrize("name", MODULES)
def test_a_public_name_has_a_docstring_that_stands_alone_and_names_our_errors(name):
    for full, node in public(ast.parse(MODULES[name].read_text(encoding="utf-8")).body, name):
        told = ast.get_docstring(node)
        assert told, f"{full} has no docstring"
        first = told.splitlines()[0]
        assert first.endswith((".", ":")) and len(first) + node.col_offset + 7 <= 120, f"{full}: {first}"
        ours = raised(node) & {"CourseError", "ParseError"} if isinstance(node, ast.FunctionDef) else set()
        assert "Raises" in told or all(error in told for error in ours), f"{full} does not name {ours}"
