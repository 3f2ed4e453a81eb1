"""What each notebook takes, minutes and memory, as the rehearsal measured it.

The heads of the notebooks and the table of docs/machines.md are filled from there.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from helpers.paths import ROOT

PAGE = ROOT / "docs" / "machines.md"
_TIME = re.compile(r"(?<=\*\*Time\*\*: )\d+ minutes?(?= on two CPU cores)")
_MEMORY = re.compile(r"(?<=\*\*Memory\*\*: )\d+ GB")


def on_two_cores(results: list[dict]) -> dict[str, dict]:
    """notebook -> its result on a machine without a GPU: played alone where that was measured, else in order.

    Results with a fault don't count, nor do those of a notebook that hides the GPU of a larger machine.
    """
    return {r["notebook"]: r for r in _well(results) if r["profile"] == "cpu" and "CPU" in r["device"]}


def _well(results: list[dict]) -> list[dict]:
    """Whole notebooks that were played without a fault: in order, then alone, so that the latter has the last word."""
    told = [r for r in results if not r["fault"] and r["mode"] in ("order", "alone")]
    return sorted(told, key=lambda r: r["mode"] == "alone")


def _minutes(result: dict) -> int:
    return max(1, round(result["seconds"] / 60))


def minutes(result: dict) -> str:
    """Minutes, rounded, at least one."""
    whole = _minutes(result)
    return f"{whole} minute{'s' * (whole > 1)}"


def memory(result: dict) -> str:
    """GB of the process that used most, rounded up."""
    return f"{math.ceil(result['peak_host_bytes'] / 1e9)} GB"


def filled(text: str, result: dict) -> str:
    """A notebook's head with the measured minutes and memory. Raises ValueError when it has no place for them."""
    if len(_TIME.findall(text)) != 1 or len(_MEMORY.findall(text)) != 1:
        raise ValueError(
            f"{result['notebook']}: the head must say "
            "'**Time**: N minutes on two CPU cores' and '**Memory**: N GB' once"
        )
    return _MEMORY.sub(memory(result), _TIME.sub(minutes(result), text))


def filled_table(page: str, results: dict[str, dict]) -> str:
    """A page with the measured minutes in the last column of each notebook's row."""
    for name, result in results.items():
        row = rf"(?m)^(\|.*notebooks/{name}\.ipynb\).*\| )\d+ minutes?( \|)$"
        page = re.sub(row, rf"\g<1>{minutes(result)}\g<2>", page)
    return page


def heads(results: list[dict], root: Path = ROOT) -> dict[Path, str]:
    """Every text twin and stored notebook -> its text with the stored runtimes in its head."""
    files = {}
    for name, result in on_two_cores(results).items():
        twin, stored = root / "notebooks" / "text" / f"{name}.py", root / "notebooks" / f"{name}.ipynb"
        files[twin] = filled(twin.read_text(encoding="utf-8"), result)
        notebook = json.loads(stored.read_text(encoding="utf-8"))
        head = notebook["cells"][0]
        head["source"] = filled("".join(head["source"]), result).splitlines(keepends=True)
        files[stored] = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return files


def table(results: list[dict], titles: dict[str, str] | None = None) -> str:
    """Minutes and peak memory of each notebook, for every machine measured, as Markdown.

    A T4's are said to be missing until there are some.
    """
    well = _well(results)
    machines = list(dict.fromkeys(_machine(r) for r in well))
    measured = any("T4" in r["device"] for r in well)
    lines = [
        "| notebook | " + " | ".join([*machines, *([] if measured else ["T4"])]) + " |",
        "|---|" + "---|" * (len(machines) + (not measured)),
    ]
    for name in sorted({r["notebook"] for r in well}):
        found = {_machine(r): _cell(r) for r in well if r["notebook"] == name}
        cells = [found.get(machine, "–") for machine in machines]
        lines.append(
            f"| {(titles or {}).get(name, name)} | "
            + " | ".join([*cells, *([] if measured else ["not measured on a T4"])])
            + " |"
        )
    return "\n".join(lines) + "\n"


def _machine(result: dict) -> str:
    return f"{result['device']}, {result['profile']} profile" + (
        f", held to {result['gpu_gib']} GiB" if result["gpu_gib"] else ""
    )


def _cell(result: dict) -> str:
    gpu = (
        f", {result['peak_gpu_reserved_bytes'] / 2**30:.1f} GiB of GPU memory"
        if result["peak_gpu_reserved_bytes"]
        else ""
    )
    return f"{_minutes(result)} min{gpu}, {result['peak_host_bytes'] / 2**30:.1f} GiB of memory"
