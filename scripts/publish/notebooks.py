"""Execute the course's notebooks on the real model.

    python -m scripts.publish.notebooks run [NB …]     text twins -> build/NAME.ipynb and build/NAME.html
    python -m scripts.publish.notebooks store [NB …]   text twins -> notebooks/NAME.ipynb, whose outputs readers see
    python -m scripts.publish.notebooks prose [NB …]   changed prose into notebooks/NAME.ipynb; code and outputs stay

NB is the start of a notebook's name, such as 04. Each cell is named as it starts, with the seconds it took.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from helpers.exercises import markdown

ROOT = Path(__file__).resolve().parents[2]
TEXT, STORED, BUILD = ROOT / "notebooks" / "text", ROOT / "notebooks", ROOT / "build"
MEASURED = ROOT / "assets" / "measured.json"  # what the cards of the stored notebooks say
GPU_HELPS = ("00", "04", "05", "06")  # these ask Colab for a T4; 01 to 03 measure on the processor, with or without one
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
CELL_TIMEOUT = 4500  # seconds
WITH_ALT_TEXT = """{% extends 'lab/index.html.j2' %}
{% block data_png scoped -%}
{{ super() | replace('<img ', \
'<img alt="' ~ ((output | get_metadata('alt', 'image/png') or '') | escape_html) ~ '" ', 1) }}
{%- endblock data_png %}
"""  # nbconvert 7 drops the alt text of a figure, and says that there is none
EXERCISE = re.compile(r"<!-- exercise ([\d.]+) -->")  # what follows in that cell is written from assets/exercises


def chosen(prefixes: list[str]) -> list[Path]:
    """The text twins whose names start with one of the prefixes; all without any.

    Raises SystemExit when there is none.
    """
    found = [p for p in sorted(TEXT.glob("*.py")) if not prefixes or p.name.startswith(tuple(prefixes))]
    if not found:
        raise SystemExit(f"error: no notebook starts with {' or '.join(prefixes)} → see {TEXT.relative_to(ROOT)}")
    return found


def read(path: Path):
    """A text twin as a notebook whose cell ids and metadata are the same every time."""
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(
        {
            "jupytext": {
                "text_representation": {"extension": ".py", "format_name": "percent"},
                "cell_metadata_filter": "tags,-all",
                "notebook_metadata_filter": "-all",
            },
            "kernelspec": KERNEL,
            "language_info": {"name": "python"},
        }
    )
    notebook.metadata |= colab_metadata(path.stem)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
        if cell.source.startswith("# @title"):
            cell.metadata["cellView"] = "form"  # Colab folds it to its title
        if marked := EXERCISE.match(cell.source):
            cell.source = f"{marked.group()}\n{markdown(marked.group(1))}"
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def colab_metadata(name: str) -> dict:
    """What Colab reads of a notebook's metadata: the machine that *Run all* starts."""
    colab = {"provenance": []}
    return (
        {"accelerator": "GPU", "colab": colab | {"gpuType": "T4"}} if name.startswith(GPU_HELPS) else {"colab": colab}
    )


def execute(notebook, name: str) -> None:
    """Run every cell in a fresh kernel, naming each as it starts; raises CellExecutionError at the first failure."""
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(STORED)}},
    )
    with client.setup_kernel():
        for count, index in enumerate(code, 1):
            first = next((line for line in notebook.cells[index].source.splitlines() if line.strip()), "")
            print(f"{name}  {count:3d}/{len(code)}  {first[:70]:<70}", end="", flush=True)
            started = time.perf_counter()
            try:
                client.execute_cell(notebook.cells[index], index, execution_count=count)
            finally:
                print(f"  {time.perf_counter() - started:6.1f} s", flush=True)


def tidy(notebook) -> None:
    """Drop what differs from run to run and says nothing to a reader.

    Timings, widget state, progress bars' returns, names of tables.
    """
    notebook.metadata.pop("widgets", None)
    for number, cell in enumerate(notebook.cells):
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [o for o in _joined(cell.outputs) if not (o.output_type == "stream" and not o.text.strip())]
            for part, output in enumerate(cell.outputs):
                if html := output.get("data", {}).get("text/html"):  # pandas draws a name for each styled table
                    output.data["text/html"] = re.sub(r"\bT_[0-9a-f]{5}(?=_| |\")", f"T_{number}_{part}", html)


def _joined(outputs: list) -> list:
    """Outputs with neighbouring streams in one, each line as a terminal leaves it: what follows its last return."""
    joined = []
    for output in outputs:
        if output.output_type == "stream" and joined and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    for output in joined:
        if output.output_type == "stream":
            output.text = "\n".join(line.split("\r")[-1].rstrip() for line in output.text.split("\n"))
    return joined


def write_html(notebook, path: Path, theme: str = "light") -> None:
    """The notebook as one readable HTML file, in the light or the dark theme.

    Without nbconvert's ``embed_images``: it closes each piece of HTML on its own, so that hints and solutions would
    stand open. Figures are outputs, which are in the file anyway; prose has no pictures but the badge.
    """
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    loader = DictLoader({"course.html.j2": WITH_ALT_TEXT})
    body, _ = HTMLExporter(theme=theme, template_file="course.html.j2", extra_loaders=[loader]).from_notebook_node(
        notebook
    )
    path.write_text(body, encoding="utf-8")


def process(path: Path, store: bool) -> bool:
    """Run a text twin, write it under build/ and, with ``store``, to notebooks/. Returns whether every cell ran."""
    notebook, name = read(path), path.stem
    started, failed = time.perf_counter(), False
    try:
        execute(notebook, name[:2])
    except CellExecutionError as error:
        print(error, file=sys.stderr)
        failed = True
    tidy(notebook)
    BUILD.mkdir(exist_ok=True)
    nbformat.write(notebook, BUILD / f"{name}.ipynb")
    write_html(notebook, BUILD / f"{name}.html")
    if store and not failed:
        nbformat.write(notebook, STORED / f"{name}.ipynb")
        path.write_text(jupytext.writes(notebook, fmt="py:percent"), encoding="utf-8")
    print(
        f"{name}: {'FAILED' if failed else 'done'} in {time.perf_counter() - started:.0f} s → build/{name}.html\n",
        flush=True,
    )
    return not failed


def take_prose(path: Path) -> bool:
    """Put a twin's prose into the stored notebook. Refused when its code has changed too: that has to be run."""
    notebook, stored = read(path), nbformat.read(STORED / f"{path.stem}.ipynb", as_version=4)
    new, old = ([cell for cell in book.cells if cell.cell_type == "code"] for book in (notebook, stored))
    if [cell.source for cell in new] != [cell.source for cell in old]:
        print(f"error: the code of {path.stem} has changed → run: make notebooks NB={path.stem[:2]}", file=sys.stderr)
        return False
    for cell, kept in zip(new, old, strict=True):
        cell.outputs, cell.execution_count = kept.outputs, kept.execution_count
    nbformat.write(notebook, STORED / f"{path.stem}.ipynb")
    path.write_text(jupytext.writes(notebook, fmt="py:percent"), encoding="utf-8")
    print(f"{path.stem}: prose taken over")
    return True


def main() -> int:
    """Run the command line (see the module). Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "store", "prose"))
    parser.add_argument("notebooks", nargs="*", help="start of a notebook's name, such as 04")
    arguments = parser.parse_args()
    if arguments.action == "prose":
        taken = [take_prose(path) for path in chosen(arguments.notebooks)]  # all of them, also after a refusal
        return 0 if all(taken) else 1
    os.environ.setdefault("COURSE_WIDGETS", "0")  # stored notebooks hold no widget state
    if arguments.action == "store":
        os.environ["COURSE_STRICT"] = "1"
        os.environ["COURSE_PROFILE"] = "cpu"
        os.environ["COURSE_BETS"] = str(Path(tempfile.mkdtemp()) / "bets.json")
        os.environ["COURSE_MEASURED"] = str(MEASURED)
    done = [process(path, arguments.action == "store") for path in chosen(arguments.notebooks)]
    return 0 if all(done) else 1


if __name__ == "__main__":
    raise SystemExit(main())
