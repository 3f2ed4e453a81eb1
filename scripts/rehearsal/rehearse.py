"""Rehearse Colab: a fresh Python 3.13 with Colab's packages, the setup cell, then every notebook in order and alone.

    python -m scripts.rehearsal.rehearse                     everything, on this machine
    python -m scripts.rehearsal.rehearse 00 --passes order   the setup cell and notebook 00, as CI does with Python 3.13
    python -m scripts.rehearsal.rehearse --passes setup      the setup cell alone
    python -m scripts.rehearsal.rehearse 00 04 --passes setup standin   the same on a model that can call already
    python -m scripts.rehearsal.rehearse --t4 --write        on a GPU: 14.7 GiB, no bf16; peaks into runtimes.json
    python -m scripts.rehearsal.rehearse --table             the stored runtimes as a Markdown table

Each notebook starts in a fresh kernel, in a folder that holds nothing: the setup cell clones the course by its own git
command, which git is told to answer from a copy of this working tree. ``order`` keeps one folder, one cache and one
file of bets for all notebooks; ``alone`` gives each its own; ``twice`` runs every cell twice in a row, because readers
do, and takes twice as long; ``standin`` puts the base model with the reference adapter merged into it where
FunctionGemma would come from the hub (``scripts/rehearsal/standin.py``). The packages are installed once, by the first
setup cell. After it and after each notebook, torch and numpy must be what they were.

What was played well is kept in the work folder: a rehearsal that was cut off goes on where it was, unless a file has
changed. Offline, point PIP_FIND_LINKS at a folder of wheels and set PIP_NO_INDEX=1; ``--host-packages`` takes the
Python and the torch that the host has for Colab's. With ``--t4`` Unsloth decides as it does for compute capability 7.5,
and a run that it took on another path than ``T4_PATH`` is a fault. What this cannot show: a T4's speed, its kernels,
and Colab's own front end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from helpers import reference
from helpers.errors import CourseError
from scripts.publish import repository, runtimes

ROOT = Path(__file__).resolve().parents[2]
PARTS = ROOT / "scripts" / "rehearsal" / "kernel"  # what every kernel loads
T4_GIB = 14.7  # what torch finds on Colab's T4
T4_PATH = {  # how the course trains on a T4: in float32, as it asks (helpers.training)
    "SUPPORTS_BFLOAT16": False,
    "UNSLOTH_FORCE_FLOAT32": "0",
    "_unsloth_forced_float32": False,
    "parameters": ["float32"],
    "computed_in": "float32",
}
COLAB_PYTHON = "3.13"
SETUP_LIMIT = 120  # seconds
CELL_LIMIT = 1500  # seconds
STANDS_FOR = "rehearsal/arabic-functiongemma-course"  # the address while the course has none
RUNTIMES = {"order", "alone", "standin"}  # the passes whose minutes and peaks are a reader's
FORGOTTEN = (
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "WANDB_API_KEY",
    "UNSLOTH_COMPILE_LOCATION",
    "MPLBACKEND",
)
_FINGERPRINT = """
import hashlib, importlib.metadata as m, json
def of(name):
    try: found = m.distribution(name)
    except m.PackageNotFoundError: return None
    return [found.version, hashlib.sha256((found.read_text("RECORD") or "").encode()).hexdigest()[:16]]
print(json.dumps({name: of(name) for name in ("torch", "numpy")}))
"""
_PROVENANCE = """
import json, sys
from helpers import environment, reference
told = reference.provenance((environment.SEED,))
print(json.dumps(told | environment.versions("unsloth", "numpy") | \
{"python": sys.version.split()[0], "profile": environment.profile().name}))
"""


@dataclass(frozen=True)
class Played:
    """How one notebook went.

    ``mode``: setup, order, alone, twice or standin. ``fault``: None, or what went wrong and in which cell.
    Peaks are bytes of the one process that used most, of all that the notebook started; ``outside`` counts verdict
    cards outside their band. ``model`` is the model that the notebook ran on, ``profile`` the one that its own kernel
    chose, ``path`` how Unsloth trained (see ``T4_PATH``; None where nothing was).
    """

    notebook: str
    mode: str
    seconds: float
    setup_seconds: float
    cells: int
    fault: str | None
    peak_gpu_bytes: int
    peak_gpu_reserved_bytes: int
    peak_host_bytes: int
    outside: int
    model: str
    profile: str
    path: dict | None


# --- the machine ------------------------------------------------------------------------------------------------------


def find_python(named: str | None = None) -> str:
    """Colab's Python: the one named, ``python3.13``, or one of pyenv's. Raises CourseError when there is none."""
    own = f"python{COLAB_PYTHON}"
    pyenv = sorted(
        Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv").glob(f"versions/{COLAB_PYTHON}*/bin/{own}")
    )
    for candidate in [named] if named else [own, *map(str, pyenv)]:
        try:
            told = subprocess.run(
                [candidate, "-c", "import sys; print(*sys.version_info[:2])"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        if named or ".".join(told.split()) == COLAB_PYTHON:
            return candidate
    raise CourseError(
        f"{named or f'Python {COLAB_PYTHON}'} cannot be run", f"Colab runs {COLAB_PYTHON}: name one with --python"
    )


def make_environment(work: Path, python: str, host_packages: bool) -> Path:
    """A fresh environment that holds what Colab holds before our setup cell runs.

    The one that is there, when a rehearsal goes on.
    """
    folder = work / "colab"
    inside = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if (folder / ".ready").exists():
        return inside
    shutil.rmtree(folder, ignore_errors=True)
    # pip takes what PYTHONPATH leads to for installed
    own = {key: value for key, value in os.environ.items() if key not in FORGOTTEN}
    subprocess.run(
        [python, "-m", "venv", *(["--without-pip"] if host_packages else []), str(folder)], check=True, env=own
    )
    # not --system-site-packages: a host's Python may live in an environment of its own, whose packages that would miss
    if host_packages:
        seen = subprocess.run(
            [python, "-c", "import site; print(*site.getsitepackages(), sep='\\n')"],
            capture_output=True,
            text=True,
            check=True,
            env=own,
        ).stdout
        next(folder.glob("lib*/**/site-packages")).joinpath("host.pth").write_text(seen, encoding="utf-8")
    colab = PARTS.parent / "colab.txt"
    wanted = (
        re.findall(r"(?m)^(?:ipykernel|torchao).*", colab.read_text(encoding="utf-8"))
        if host_packages
        else ["-r", str(colab)]
    )
    print(f"installing what Colab has: {' '.join(wanted)}", flush=True)
    subprocess.run(
        [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], check=True, env=own
    )
    (folder / ".ready").touch()
    return inside


def make_origin(work: Path) -> Path:
    """This working tree as a git repository of one commit, for the setup cell to clone."""
    origin = work / "origin"
    shutil.rmtree(origin, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=False
    )
    if listed.returncode:  # a copy without .git, as on a lent machine
        skipped = {"build", ".gpu_kit", "shared", "unsloth_compiled_cache", ".venv", "__pycache__", ".git", work.name}
        names = [
            p.relative_to(ROOT) for p in ROOT.rglob("*") if p.is_file() and not skipped & set(p.relative_to(ROOT).parts)
        ]
    else:
        names = [Path(name) for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    for name in names:
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, origin / name)
    git = [
        "git",
        "-c",
        "user.name=rehearsal",
        "-c",
        "user.email=rehearsal@localhost",
        "-c",
        "core.autocrlf=false",
        "-C",
        str(origin),
    ]
    for words in (
        ["init", "--quiet", "-b", repository.BRANCH],
        ["add", "--force", "."],
        ["commit", "--quiet", "-m", "the working tree"],
    ):
        subprocess.run([*git, *words], check=True)
    return origin


def address() -> str:
    """owner/name that the notebooks of this rehearsal clone from."""
    return STANDS_FOR if repository.REPOSITORY.startswith(repository.PLACEHOLDER) else repository.REPOSITORY


def settings(work: Path, origin: Path, t4: bool) -> dict[str, str]:
    """The environment of every kernel: no token, no setting of ours, git answers for GitHub from ``origin``."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in FORGOTTEN and not key.startswith(("COURSE_", "GIT_", "REHEARSAL_"))
    }
    kept |= {"PYTHONPATH": str(PARTS), "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
    kept |= {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{origin.resolve().as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{address()}",
    }
    return kept | ({"REHEARSAL_GPU_GIB": str(T4_GIB)} if t4 else {})


def fingerprint(python: Path, environment: dict[str, str]) -> dict:
    """torch and numpy as installed: name -> [version, digest of the list of their files], None for a missing one."""
    return json.loads(
        subprocess.run(
            [str(python), "-c", _FINGERPRINT], env=environment, capture_output=True, text=True, check=True
        ).stdout
    )


# --- one notebook -----------------------------------------------------------------------------------------------------


class Rehearsed(KernelSpecManager):
    """The one kernel there is: the rehearsed environment's.

    The Python that drives the rehearsal needs none of its own.
    """

    def __init__(self, python: Path):
        super().__init__()
        self.python = python

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """The rehearsed environment's kernel, whatever name is asked for."""
        argv = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
        return KernelSpec(argv=argv, display_name="Colab, rehearsed", language="python")


def _cleared(path: Path, mode: str) -> tuple:
    """A stored notebook without outputs, the (index, code cell) pairs that are played, and which is the setup cell."""
    notebook = nbformat.read(path, as_version=4)
    code = [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    first = next(n for n, (_, cell) in enumerate(code) if "setup.prepare()" in cell.source)
    code = code[: first + 1] if mode == "setup" else code
    for _, cell in code:
        cell.outputs, cell.execution_count = [], None
    code[first][1].source = code[first][1].source.replace(repository.REPOSITORY, address())
    return notebook, code, first


def play(
    path: Path,
    mode: str,
    python: Path,
    folder: Path,
    environment: dict[str, str],
    setup_limit: float,
    cell_limit: float = CELL_LIMIT,
) -> Played:
    """Run a notebook in a fresh kernel whose working folder is ``folder``.

    In mode ``setup`` only its setup cell, in mode ``twice`` each cell twice.
    """
    notebook, code, first = _cleared(path, mode)
    peaks = folder / f"peaks-{mode}-{path.stem}"
    shutil.rmtree(peaks, ignore_errors=True)
    peaks.mkdir(parents=True)
    seconds, repeated, fault, elapsed = [], [], None, 0.0
    manager = AsyncKernelManager(kernel_spec_manager=Rehearsed(python))
    client = NotebookClient(
        notebook, km=manager, timeout=cell_limit, allow_errors=False, resources={"metadata": {"path": str(folder)}}
    )
    # nbclient's Output widget writes to the kernel while a cell runs; the cell's reply may then never come
    # (its issue 312)
    client.comm_open_handlers.clear()
    started = time.perf_counter()
    try:
        with client.setup_kernel(env=environment | {"REHEARSAL_PEAKS": str(peaks)}, cwd=str(folder), cleanup_kc=True):
            try:
                for count, (index, cell) in enumerate(code, 1):
                    fault = f"cell {count} of {len(code)}: "
                    begun = time.perf_counter()
                    client.execute_cell(cell, index, execution_count=count)
                    seconds.append(time.perf_counter() - begun)
                    if mode == "twice" and (refused := _again(client, cell, index)):
                        repeated.append(f"cell {count} of {len(code)}, run again: {refused}")
                fault = None
                _request_peaks(client)
            except CellTimeoutError:  # the kernel is busy and will answer nothing more, but a signal
                fault += f"no end after {cell_limit:.0f} s, {_where(manager.provisioner.pid, peaks)}"
            except CellExecutionError:
                _request_peaks(client)
                raise
            finally:
                elapsed = time.perf_counter() - started
        fault = "; ".join([*repeated, *([fault] if fault else [])]) or None
    except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as error:
        fault = (fault or "") + _last_line(error)
    if not fault and seconds[first] > setup_limit:
        fault = f"the setup cell took {seconds[first]:.0f} s, more than {setup_limit:.0f}"
    nbformat.write(notebook, folder / f"{mode}-{path.name}")
    outside = sum("outside its band" in json.dumps(output) for _, cell in code for output in cell.get("outputs", []))
    told = _peaks(peaks)
    if "REHEARSAL_GPU_GIB" in environment and (strayed := strays(code, mode, told)):
        fault = f"{fault}; {strayed}" if fault else strayed
    taken = round(seconds[first], 3) if len(seconds) > first else 0.0
    return Played(path.stem, mode, round(elapsed, 3), taken, len(seconds), fault, **told, outside=outside)


def strays(code: list, mode: str, told: dict) -> str | None:
    """How a notebook left a T4's path: by another profile, or by training otherwise.

    Notebooks that keep to the processor cannot.
    """
    sources = [cell.source for _, cell in code]
    if any('"CUDA_VISIBLE_DEVICES"] = ""' in source for source in sources):
        return None
    if told["profile"] not in ("", "t4"):
        return f"its kernel chose the profile {told['profile']}, not t4"
    if mode != "setup" and any("training.train(" in source for source in sources) and told["path"] != T4_PATH:
        return f"trained on another path than a T4's: {told['path']}"
    return None


def _again(client: NotebookClient, cell, index: int) -> str | None:
    """Run a cell that has just been run.

    Returns what it raised; the notebook goes on, so that one rehearsal finds all such cells.
    """
    try:
        client.execute_cell(cell, index)
    except CellExecutionError as error:
        return _last_line(error)
    return None


def _where(process: int, folder: Path) -> str:
    """The innermost Python frames of a kernel that does not answer: ``in qr (lora.py:69) < …``.

    As ``sitecustomize`` lets a signal write them.
    """
    with contextlib.suppress(OSError, AttributeError):  # it has ended after all, or this system has no such signal
        os.kill(process, signal.SIGUSR1)
    time.sleep(1)
    written = folder / f"stack-{process}.txt"
    frames = (
        re.findall(r'File "(.*?)", line (\d+) in (\S+)', written.read_text(encoding="utf-8"))
        if written.exists()
        else []
    )
    return "in " + (
        " < ".join(f"{name} ({Path(file).name}:{line})" for file, line, name in frames[:6]) or "an unknown place"
    )


def _request_peaks(client: NotebookClient) -> None:
    """Have the kernel write its peaks now: one that is slow to end is killed, and then writes none."""
    tail = nbformat.v4.new_code_cell("__import__('sitecustomize').write()")
    client.nb.cells.append(tail)
    with contextlib.suppress(CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError):
        # a dead kernel has none
        client.execute_cell(tail, len(client.nb.cells) - 1)
    client.nb.cells.remove(tail)


def _last_line(error: Exception) -> str:
    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {error.evalue}".splitlines()[0]
    return f"{type(error).__name__}: {str(error).strip().splitlines()[-1] if str(error).strip() else ''}"


def _peaks(folder: Path) -> dict:
    """What a notebook's processes left: the largest peaks, and the model and path of the one that was the kernel."""
    told = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    names = {
        "peak_gpu_bytes": "gpu_allocated_bytes",
        "peak_gpu_reserved_bytes": "gpu_reserved_bytes",
        "peak_host_bytes": "host_bytes",
    }
    peaks = {name: max((process[key] for process in told), default=0) for name, key in names.items()}
    return peaks | {
        "model": max((t["model"] for t in told), default=""),
        "profile": max((t["profile"] for t in told), default=""),
        "path": next((t["path"] for t in told if t["path"]), None),
    }


# --- all of them ------------------------------------------------------------------------------------------------------


def places(work: Path, mode: str, stem: str) -> tuple[Path, dict[str, str]]:
    """The folder that a notebook runs in, and where its cache and bets are: shared in order, its own alone."""
    place = work / (mode if mode != "alone" else f"alone-{stem}")
    (place / "content").mkdir(parents=True, exist_ok=True)
    own = {"COURSE_CACHE": str(place / "cache"), "COURSE_BETS": str(place / "bets.json")}
    return place / "content", own | (standin_settings(work) if mode == "standin" else {})


def standin_settings(work: Path) -> dict[str, str]:
    """The hub's cache that holds the stand-in, under the name that a reader with a GPU and the hub gets."""
    return {"COURSE_MODEL": "unsloth/functiongemma-270m-it", "HF_HUB_CACHE": str(work / "hub"), "HF_HUB_OFFLINE": "1"}


def make_standin(work: Path, python: Path, environment: dict[str, str]) -> None:
    """Build the stand-in with the rehearsed environment's packages, once.

    Raises CourseError when they are not there yet.
    """
    if (work / "hub" / ".ready").exists():
        return
    own = environment | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "COURSE_CACHE": str(work / "standin" / "cache"),
    }
    done = subprocess.run(
        [str(python), "-m", "scripts.rehearsal.standin", str(work / "hub")],
        env=own,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise CourseError(
            f"the stand-in cannot be built: {(done.stderr.strip().splitlines() or ['no word'])[-1]}",
            "play the setup cell first: --passes setup standin",
        )
    (work / "hub" / ".ready").touch()


def rehearse(
    work: Path,
    python: Path,
    notebooks: list[Path],
    modes: list[str],
    t4: bool,
    setup_limit: float = SETUP_LIMIT,
    cell_limit: float = CELL_LIMIT,
) -> list[Played]:
    """Play the notebooks in each mode; what was played well before, in the same work folder, is not played again."""
    origin = make_origin(work)
    state = {"tree": _tree(origin), "t4": t4}
    done = _kept(work, state)
    environment = settings(work, origin, t4)
    before_file = work / "torch_and_numpy.json"
    if not before_file.exists():
        before_file.write_text(json.dumps(fingerprint(python, environment)), encoding="utf-8")
    before = json.loads(before_file.read_text(encoding="utf-8"))
    for mode in modes:
        for path in notebooks[:1] if mode == "setup" else notebooks:
            if (path.stem, mode) in done:
                continue
            if mode == "standin":
                make_standin(work, python, environment)
            folder, own = places(work, mode, path.stem)
            if mode == "alone":
                shutil.rmtree(folder)
                folder.mkdir()
            played = play(path, mode, python, folder, environment | own, setup_limit, cell_limit)
            if (after := fingerprint(python, environment)) != before:
                played = Played(**asdict(played) | {"fault": f"torch and numpy were {before} and are {after}"})
            print(f"{mode:6} {played.notebook:28} {played.seconds:7.1f} s  {played.fault or 'finished'}", flush=True)
            done[path.stem, mode] = played
            (work / "played.json").write_text(
                json.dumps(state | {"played": [asdict(p) for p in done.values()]}, indent=1, ensure_ascii=False),
                encoding="utf-8",
            )
    return [done[path.stem, mode] for mode in modes for path in (notebooks[:1] if mode == "setup" else notebooks)]


def _tree(origin: Path) -> str:
    """git's name for what the origin holds: the same for the same files."""
    return subprocess.run(
        ["git", "-C", str(origin), "rev-parse", "HEAD^{tree}"], capture_output=True, text=True, check=True
    ).stdout.strip()


def _kept(work: Path, state: dict) -> dict[tuple[str, str], Played]:
    """What was played well in this folder, of the very same files on the same kind of machine."""
    path = work / "played.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    same = {key: told.get(key) for key in state} == state
    return (
        {(p.notebook, p.mode): p for p in (Played(**entry) for entry in told["played"]) if not p.fault} if same else {}
    )


def provenance(python: Path, environment: dict[str, str], command: str, revision: str = "") -> dict:
    """Where the runtimes come from: the rehearsed environment's own versions, this tree's revision.

    The revision is ``revision`` where the tree has no .git.
    """
    told = subprocess.run(
        [str(python), "-c", _PROVENANCE],
        env=environment | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{PARTS}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return (
        json.loads(told.stdout.splitlines()[-1]) | {"command": command} | ({"revision": revision} if revision else {})
    )


def write(played: list[Played], told: dict, t4: bool, folder: Path = reference.REFERENCE) -> Path:
    """Add the runtimes to ``runtimes.json``: one result for each notebook, mode and machine.

    Other machines' results stay.
    """
    path = folder / "runtimes.json"
    machine = {key: told[key] for key in ("device", "profile", "torch", "python", "date", "revision")} | {
        "gpu_gib": T4_GIB if t4 else None
    }
    new = [
        asdict(p) | machine | ({"profile": p.profile} if p.profile else {})
        for p in played
        if p.mode in RUNTIMES | {"setup"}
    ]
    key = ("notebook", "mode", "device", "profile", "gpu_gib")
    taken = {tuple(result[k] for k in key) for result in new}
    old = reference.load("runtimes", folder).results if path.exists() else []
    results = sorted(
        [r for r in old if tuple(r[k] for k in key) not in taken] + new, key=lambda r: tuple(str(r[k]) for k in key)
    )
    path.write_text(
        json.dumps({"provenance": told, "results": results}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return path


def chosen(prefixes: list[str]) -> list[Path]:
    """The stored notebooks whose names start with one of the prefixes, in a reader's order; all without any.

    Raises CourseError when there is none.
    """
    found = [
        p for p in sorted((ROOT / "notebooks").glob("*.ipynb")) if not prefixes or p.name.startswith(tuple(prefixes))
    ]
    if not found:
        raise CourseError(f"no stored notebook starts with {' or '.join(prefixes) or 'anything'}", "see notebooks/")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", help="start of a notebook's name, such as 04")
    parser.add_argument(
        "--passes",
        nargs="+",
        choices=("setup", "order", "alone", "twice", "standin"),
        default=["setup", "order", "alone"],
    )
    parser.add_argument(
        "--t4",
        action="store_true",
        help=f"on a GPU: {T4_GIB} GiB, no bf16, and Unsloth decides as for compute capability 7.5",
    )
    parser.add_argument(
        "--python",
        help="the interpreter to make the environment with "
        f"(a Python {COLAB_PYTHON} if not named; with --host-packages this one)",
    )
    parser.add_argument(
        "--host-packages", action="store_true", help="what the host has installed stands for Colab's packages"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / "build" / "rehearsal",
        help="folder of the rehearsal; delete it to start anew",
    )
    parser.add_argument(
        "--if-possible", action="store_true", help=f"where there is no Python {COLAB_PYTHON}, say so and end well"
    )
    parser.add_argument(
        "--setup-limit", type=float, default=SETUP_LIMIT, help="seconds that the setup cell may take (%(default)s)"
    )
    parser.add_argument(
        "--cell-limit",
        type=float,
        default=CELL_LIMIT,
        help="seconds that any cell may take (%(default)s); where it hung is told",
    )
    parser.add_argument(
        "--write", action="store_true", help="store runtimes and peaks in assets/reference/runtimes.json"
    )
    parser.add_argument("--revision", default="", help="the git revision, where the tree has no .git")
    parser.add_argument(
        "--table", action="store_true", help="print the stored runtimes as Markdown and do nothing else"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line (see the module). Returns the exit status; raises CourseError for what it cannot do."""
    arguments = _parser().parse_intermixed_args(argv)
    if arguments.table:
        print(runtimes.table(reference.load("runtimes").results), end="")
        return 0
    if arguments.write and not RUNTIMES & set(arguments.passes):
        raise CourseError(
            f"--write stores the minutes of a reader, and only {' and '.join(arguments.passes)} is asked for",
            "add --passes order alone",
        )
    try:
        interpreter = find_python(arguments.python or (sys.executable if arguments.host_packages else None))
    except CourseError as error:
        if not arguments.if_possible:
            raise
        print(f"not rehearsed: {error}")
        return 0
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    python = make_environment(work, interpreter, arguments.host_packages)
    played = rehearse(
        work,
        python,
        chosen(arguments.notebooks),
        arguments.passes,
        arguments.t4,
        arguments.setup_limit,
        arguments.cell_limit,
    )
    failed = [p for p in played if p.fault]
    if arguments.write and not failed:
        told = provenance(
            python, settings(work, work / "origin", arguments.t4), shlex.join(["python", *sys.argv]), arguments.revision
        )
        print(
            f"written: {write(played, told, arguments.t4).relative_to(ROOT)}; "
            "make generate brings the minutes into the pages"
        )
    print(
        f"{len(played) - len(failed)} of {len(played)} played well"
        + (f"; the notebooks as they ended: {work}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except CourseError as error:
        raise SystemExit(f"error: {error}") from None
