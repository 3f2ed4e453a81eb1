"""The rehearsal of Colab, on stand-ins of a few lines.

A course whose setup tells where it is, notebooks of two cells, a torch without kernels.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from helpers import reference
from helpers.errors import CourseError
from helpers.paths import ROOT
from scripts.publish import repository, runtimes
from scripts.rehearsal import rehearse as script
from scripts.rehearsal import stage

TORCH = """
from types import SimpleNamespace
calls, marks = [], [5]
def reset(device=None): marks[0] = 1
cuda = SimpleNamespace(
    memory=SimpleNamespace(), _lazy_call=lambda run: run(), is_initialized=lambda: True, device_count=lambda: 1,
    get_device_properties=lambda device: SimpleNamespace(total_memory=80 * 2**30), \
set_per_process_memory_fraction=lambda *a: calls.append(a),
    reset_peak_memory_stats=reset, max_memory_allocated=lambda device: marks[0], \
max_memory_reserved=lambda device: 2 * marks[0],
    is_bf16_supported=lambda including_emulation=True: True, get_device_capability=lambda device=None: (9, 0),
)
"""


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two notebooks in place of ours, and a folder of packages where its torch and numpy are."""
    root = tmp_path / "the course"
    (root / "src" / "helpers").mkdir(parents=True)
    (root / "src" / "helpers" / "__init__.py").write_text("")
    (root / "src" / "helpers" / "setup.py").write_text("def prepare():\n    print(__file__)\n    return 'ready'\n")
    (root / "notebooks").mkdir()
    for name, source in (
        ("00_first", "open('left', 'x').close()"),
        ("01_second", "import os; print(os.path.exists('left'), os.environ.get('HF_TOKEN'))"),
    ):
        save(root, name, source)
    packages = tmp_path / "packages"
    for name in ("torch", "numpy"):
        about = packages / f"{name}-9.1.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.1\n")
        (about / "RECORD").write_text("")
    (packages / "torch.py").write_text(TORCH)
    parts = shutil.copytree(script.PARTS, tmp_path / "parts")
    for path in packages.iterdir():
        shutil.move(path, parts / path.name)
    monkeypatch.setattr(script, "ROOT", root)
    monkeypatch.setattr(script, "PARTS", parts)
    monkeypatch.setenv("HF_TOKEN", "secret")
    return root


NOT_INSTALLED = """\
import os, sys  # the tests' own Python has this course installed, Colab's has not
sys.path[:] = [path for path in sys.path if not os.path.isdir(os.path.join(path, "helpers"))]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in str(finder).lower()]
"""


def save(root: Path, name: str, source: str) -> None:
    cells = [nbformat.v4.new_code_cell(NOT_INSTALLED + repository.setup_cell()), nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "notebooks" / f"{name}.ipynb")


def rehearse(course, work, modes=("setup", "order", "alone"), **how):
    work.mkdir(exist_ok=True)
    return script.rehearse(work, Path(sys.executable), script.chosen([]), list(modes), how.pop("t4", False), **how)


def said(work: Path, mode: str, name: str, place: str) -> str:
    """What a notebook's last cell printed."""
    outputs = nbformat.read(work / place / "content" / f"{mode}-{name}.ipynb", as_version=4).cells[-1].outputs
    return "".join(o.get("text", "") for o in outputs)


@pytest.mark.slow
def test_in_order_notebooks_share_a_folder_and_alone_they_do_not(course, tmp_path, capsys):
    played = rehearse(course, tmp_path / "work")
    assert [(p.mode, p.notebook, p.fault) for p in played] == [
        ("setup", "00_first", None),
        ("order", "00_first", None),
        ("order", "01_second", None),
        ("alone", "00_first", None),
        ("alone", "01_second", None),
    ]
    assert [p.cells for p in played] == [1, 2, 2, 2, 2]
    # what the first left is there; no token is
    assert said(tmp_path / "work", "order", "01_second", "order") == "True None\n"
    assert said(tmp_path / "work", "alone", "01_second", "alone-01_second") == "False None\n"
    assert all(p.peak_host_bytes > 10 * 2**20 and p.seconds >= p.setup_seconds > 0 for p in played)
    clone = tmp_path / "work" / "order" / "content" / "course"  # by the setup cell's own git clone
    assert (clone / ".git").is_dir() and (clone / "src" / "helpers" / "setup.py").exists()
    capsys.readouterr()
    assert rehearse(course, tmp_path / "work") == played and not capsys.readouterr().out  # played well once is enough …
    save(course, "01_second", "print(1)")
    # … until a file changes
    assert rehearse(course, tmp_path / "work") != played and "01_second" in capsys.readouterr().out


@pytest.mark.slow
def test_a_notebook_that_fails_is_named_with_its_cell_and_the_others_run(course, tmp_path):
    save(course, "00_first", "1 / 0")
    save(course, "02_asks", "input('token: ')")
    save(course, "03_dies", "import os; os._exit(1)")
    faults = {p.notebook: p.fault for p in rehearse(course, tmp_path / "work", ["order"])}
    assert faults["00_first"] == "cell 2 of 2: ZeroDivisionError: division by zero" and faults["01_second"] is None
    assert faults["02_asks"].startswith("cell 2 of 2: StdinNotImplementedError")  # nobody sits there to log in
    assert faults["03_dies"].startswith("cell 2 of 2: DeadKernelError")
    save(course, "00_first", "print('mended')")
    assert rehearse(course, tmp_path / "work", ["order"])[0].fault is None


@pytest.mark.slow
def test_each_cell_can_be_run_again(course, tmp_path):
    save(course, "00_first", "names = ['a']\nprint(len(names))")
    save(course, "01_second", "import os; os.mkdir('mine')")
    save(course, "02_third", "1 / 0")
    first, second, third = rehearse(course, tmp_path / "work", ["twice"])
    assert first.fault is None and first.cells == 2
    assert second.fault.startswith("cell 2 of 2, run again: FileExistsError") and second.cells == 2
    assert third.fault == "cell 2 of 2: ZeroDivisionError: division by zero"


@pytest.mark.slow
def test_where_a_cell_hangs_is_told_and_the_next_notebook_runs(course, tmp_path):
    save(course, "00_first", "import time\ndef stuck():\n    time.sleep(600)\nstuck()")
    first, second = rehearse(course, tmp_path / "work", ["order"], cell_limit=10)
    assert re.fullmatch(r"cell 2 of 2: no end after 10 s, in stuck \(.*:3\) < .*", first.fault) and first.seconds < 30
    assert second.fault is None
    save(course, "00_first", "import time\ntime.sleep(globals().get('again', 0))\nagain = 600")
    assert rehearse(course, tmp_path / "work", ["twice"], cell_limit=10)[0].fault.startswith(
        "cell 2 of 2: no end after 10 s, in "
    )


@pytest.mark.slow
def test_the_kernel_is_the_rehearsed_environments(course, tmp_path, monkeypatch):
    """Also where the Python that drives has no kernel installed: nothing but the environment's own is asked for."""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "none"))
    save(course, "00_first", "import sys; print(sys.executable)")
    assert rehearse(course, tmp_path / "work", ["order"])[0].fault is None
    assert said(tmp_path / "work", "order", "00_first", "order") == f"{sys.executable}\n"
    assert script.Rehearsed(Path("/of/colab/python")).get_kernel_spec("anything").argv[0] == "/of/colab/python"


@pytest.mark.slow
def test_another_torch_or_numpy_is_found(course, tmp_path):
    """By its version, and by its files when the version is the same."""
    record = script.PARTS / "numpy-9.1.dist-info" / "RECORD"
    save(course, "01_second", f"open({str(record)!r}, 'w').write('numpy/new.so,,')")
    faults = {p.notebook: p.fault for p in rehearse(course, tmp_path / "work", ["order"])}
    assert faults["00_first"] is None and faults["01_second"].startswith("torch and numpy were {'torch': ['9.1'")


@pytest.mark.slow
def test_a_slow_setup_cell_is_a_fault(course, tmp_path):
    played = rehearse(course, tmp_path / "work", ["setup"], setup_limit=0)
    assert "the setup cell took" in played[0].fault


@pytest.mark.slow
def test_on_the_t4_path_memory_is_held_and_bf16_is_only_emulated(course, tmp_path):
    save(
        course,
        "00_first",
        "import importlib.util, os\n"
        "assert importlib.util.find_spec('torch')  # as libraries ask\n"
        "import torch\n"
        "print(torch.calls, torch.cuda.is_bf16_supported(including_emulation=False), "
        "torch.cuda.is_bf16_supported(), 'COURSE_PROFILE' in os.environ)",
    )
    save(course, "01_second", "import torch\ntorch.marks[0] = 70\ntorch.cuda.reset_peak_memory_stats()")
    first, second = rehearse(course, tmp_path / "work", ["order"], t4=True)
    assert first.fault is None and second.fault is None
    assert said(tmp_path / "work", "order", "00_first", "order") == f"[({14.7 / 80}, 0)] False True False\n"
    assert (first.peak_gpu_bytes, first.peak_gpu_reserved_bytes) == (5, 10)
    assert (second.peak_gpu_bytes, second.peak_gpu_reserved_bytes) == (70, 140)  # what the notebook itself set back


UNSLOTH = """
import torch
CAPABILITY = torch.cuda.get_device_capability()
SUPPORTS_BFLOAT16 = CAPABILITY >= (8, 0)
"""
TRAINED = """
import os, types, torch
from unsloth.models import _utils
class training:
    def train(dtype, force):
        os.environ["UNSLOTH_FORCE_FLOAT32"] = force
        weight = types.SimpleNamespace(dtype=f"torch.{dtype}")
        model = types.SimpleNamespace(_unsloth_forced_float32=force == "1", parameters=lambda: [weight])
        return types.SimpleNamespace(model=model, computed_in=dtype)
run = training.train(dtype=DTYPE, force=FORCE)
print(torch.cuda.get_device_capability(), _utils.CAPABILITY)
"""


@pytest.mark.slow
def test_on_the_t4_path_unsloth_is_told_a_t4s_capability_and_held_to_the_courses_path(course, tmp_path):
    """A run in float32 throughout passes; Unsloth's own mixture, or a notebook that left no run, is a fault."""
    (script.PARTS / "unsloth" / "models").mkdir(parents=True)
    for name, text in (("__init__", ""), ("models/__init__", ""), ("models/_utils", UNSLOTH)):
        (script.PARTS / "unsloth" / f"{name}.py").write_text(text)
    save(course, "00_first", TRAINED.replace("DTYPE", "'float32'").replace("FORCE)", "'0')"))
    save(course, "01_second", TRAINED.replace("DTYPE", "'float16'").replace("FORCE)", "'1')"))
    save(course, "02_third", "x = 1  # nothing is trained here")
    save(course, "03_fourth", "def forgets():\n    return training.train()")
    first, second, third, fourth = rehearse(course, tmp_path / "work", ["order"], t4=True)
    assert first.fault is None and first.path == script.T4_PATH and (third.fault, third.path) == (None, None)
    # torch and Triton are told the truth
    assert said(tmp_path / "work", "order", "00_first", "order") == "(9, 0) (7, 5)\n"
    assert second.fault.startswith(
        "trained on another path than a T4's: {'SUPPORTS_BFLOAT16': False, 'UNSLOTH_FORCE_FLOAT32': '1'"
    )
    assert fourth.fault == "trained on another path than a T4's: None"
    assert rehearse(course, tmp_path / "elsewhere", ["order"])[1].fault is None  # no GPU is imitated: nothing is asked


@pytest.mark.slow
def test_on_the_t4_path_another_profile_is_a_fault_beside_any_other(course, tmp_path):
    """It happened: the GPU was not held, every kernel chose the large profile, and nobody looked."""
    chose = (
        "import sys, types\n"
        "sys.modules['helpers.environment'] = "
        "types.SimpleNamespace(profile=lambda: types.SimpleNamespace(name='gpu'))\n"
    )
    save(course, "00_first", chose)
    save(course, "01_second", chose + "1 / 0")
    save(course, "02_third", 'import os\nos.environ["CUDA_VISIBLE_DEVICES"] = ""\n' + chose)
    faults = [p.fault for p in rehearse(course, tmp_path / "work", ["order"], t4=True)]
    assert faults == [
        "its kernel chose the profile gpu, not t4",
        "cell 2 of 2: ZeroDivisionError: division by zero; its kernel chose the profile gpu, not t4",
        None,
    ]


@pytest.mark.slow
def test_a_stand_in_plays_where_the_hub_would_give_functiongemma(course, tmp_path):
    save(
        course,
        "00_first",
        "import os\n"
        "checkpoint = __import__('types').SimpleNamespace(name=os.environ['COURSE_MODEL'])\n"
        "print(os.path.basename(os.environ['HF_HUB_CACHE']))",
    )
    (course / "scripts" / "rehearsal").mkdir(parents=True)
    (course / "scripts" / "rehearsal" / "standin.py").write_text("raise SystemExit('there is no peft')")
    with pytest.raises(CourseError, match="the stand-in cannot be built: there is no peft → play the setup cell first"):
        rehearse(course, tmp_path / "work", ["standin"])
    (course / "scripts" / "rehearsal" / "standin.py").write_text(
        "import sys, pathlib; pathlib.Path(sys.argv[1]).mkdir()"
    )
    played = rehearse(course, tmp_path / "work", ["standin"])[0]
    assert (played.fault, played.model) == (None, "unsloth/functiongemma-270m-it") and said(
        tmp_path / "work", "standin", "00_first", "standin"
    ) == "hub\n"


@pytest.mark.slow
def test_the_real_torch_takes_the_t4_path(tmp_path):
    """On a machine without a GPU nothing is held, and torch still loads and says so; a child process gets it too."""
    program = (
        "import importlib.util, subprocess, sys; importlib.util.find_spec('torch'); import torch; "
        "print(torch.cuda.is_bf16_supported(including_emulation=False), "
        "torch.cuda.reset_peak_memory_stats.__module__)"
    )
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}], check=True)"
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "scripts" / "rehearsal" / "kernel"),
        "REHEARSAL_GPU_GIB": "14.7",
        "REHEARSAL_PEAKS": str(tmp_path),
    }
    done = subprocess.run([sys.executable, "-c", nested], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "sitecustomize"]
    assert (
        len(list(tmp_path.glob("*.json"))) == 2
        and script._peaks(tmp_path)["peak_gpu_bytes"] == 0 < script._peaks(tmp_path)["peak_host_bytes"]
    )


# --- what is stored ---------------------------------------------------------------------------------------------------


def played(name: str, mode: str = "alone", **changed) -> script.Played:
    return script.Played(
        **{
            "notebook": name,
            "mode": mode,
            "seconds": 90.0,
            "setup_seconds": 9.0,
            "cells": 3,
            "fault": None,
            "peak_gpu_bytes": 2**30,
            "peak_gpu_reserved_bytes": 2 * 2**30,
            "peak_host_bytes": 3 * 2**30,
            "outside": 0,
            "model": "gemma-3-270m",
            "profile": "",
            "path": None,
        }
        | changed
    )


def told(device: str, profile: str = "t4") -> dict:
    return dict.fromkeys(reference.PROVENANCE, "x") | {
        "device": device,
        "profile": profile,
        "seeds": [3407],
        "torch": "9.1",
        "python": "3.13.0",
        "date": "2026-11-23",
    }


def test_runtimes_are_stored_in_the_contracts_form_and_other_machines_stay(tmp_path):
    script.write([played("00_first"), played("01_second", "order")], told("a CPU", "cpu"), False, tmp_path)
    script.write([played("00_first")], told("H100"), True, tmp_path)
    script.write([played("00_first", seconds=300.0)], told("H100"), True, tmp_path)
    stored = reference.load("runtimes", tmp_path)
    assert [(r["notebook"], r["mode"], r["device"], r["gpu_gib"], r["seconds"]) for r in stored.results] == [
        ("00_first", "alone", "H100", 14.7, 300.0),
        ("00_first", "alone", "a CPU", None, 90.0),
        ("01_second", "order", "a CPU", None, 90.0),
    ]


def test_the_table_says_that_no_t4_was_measured_until_one_was(tmp_path):
    script.write([played("00_first"), played("01_second", fault="cell 2 of 3: no")], told("H100"), True, tmp_path)
    text = runtimes.table(reference.load("runtimes", tmp_path).results)
    assert text.splitlines()[0] == "| notebook | H100, t4 profile, held to 14.7 GiB | T4 |"
    assert (
        text.splitlines()[2] == "| 00_first | 2 min, 2.0 GiB of GPU memory, 3.0 GiB of memory | not measured on a T4 |"
        and len(text.splitlines()) == 3
    )
    script.write([played("00_first")], told("Tesla T4"), False, tmp_path)
    assert "not measured" not in runtimes.table(reference.load("runtimes", tmp_path).results)


def test_provenance_is_the_rehearsed_environments(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    found = script.provenance(Path(sys.executable), environment, "python scripts/rehearse.py", "0123abc")
    assert (
        set(reference.PROVENANCE) <= set(found)
        and found["command"] == "python scripts/rehearse.py"
        and found["profile"] == "cpu"
        and found["unsloth"] != "missing"
    )
    assert found["revision"] == "0123abc" and json.dumps(found)


def test_what_cannot_be_done_is_said(monkeypatch, tmp_path):
    with pytest.raises(CourseError, match="no stored notebook starts with 99"):
        script.chosen(["99"])
    with pytest.raises(CourseError, match="no-such-python cannot be run.*--python"):
        script.find_python("no-such-python")
    with pytest.raises(CourseError, match="add --passes order alone"):
        script.main(["--passes", "setup", "--write"])


def test_the_real_tree_can_be_cloned(tmp_path):
    """What a rehearsal clones is this working tree, whole."""
    origin = script.make_origin(tmp_path)
    subprocess.run(["git", "clone", "-q", "--depth=1", origin.as_uri(), str(tmp_path / "course")], check=True)
    for name in (
        "src/helpers/setup.py",
        "requirements-model.txt",
        "assets/claims.yaml",
        "notebooks/00_start_here.ipynb",
    ):
        assert (tmp_path / "course" / name).read_bytes() == (ROOT / name).read_bytes()


def test_heads_and_the_page_of_machines_say_what_was_measured():
    """Filling again changes nothing; with another measurement it changes what it should."""
    told = runtimes.on_two_cores(reference.load("runtimes").results)
    assert sorted(told) == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    page = runtimes.PAGE.read_text(encoding="utf-8")
    assert runtimes.filled_table(page, told) == page
    for name, result in told.items():
        text = (ROOT / "notebooks" / "text" / f"{name}.py").read_text(encoding="utf-8")
        assert runtimes.filled(text, result) == text, f"{name}: make generate"
        slower = result | {"seconds": 3000.0, "peak_host_bytes": 20.1e9}
        assert "**Time**: 50 minutes on" in runtimes.filled(text, slower) and "**Memory**: 21 GB" in runtimes.filled(
            text, slower
        )
        assert page != runtimes.filled_table(page, {name: slower})
    with pytest.raises(ValueError, match="once"):
        runtimes.filled("a head without them", result)


def test_a_notebook_that_hides_the_gpu_of_a_larger_machine_has_no_minutes_of_two_cores():
    result = next(r for r in reference.load("runtimes").results if r["profile"] == "cpu" and "CPU" in r["device"])
    larger = result | {"device": "NVIDIA H200", "seconds": 1.0}
    assert runtimes.on_two_cores([result, larger]) == {result["notebook"]: result}


def test_without_a_python_it_fails_unless_asked_to_go_where_it_can(capsys):
    with pytest.raises(CourseError, match="no-such-python cannot be run"):
        script.main(["--python", "no-such-python"])
    assert script.main(["--python", "no-such-python", "--if-possible"]) == 0
    assert capsys.readouterr().out.startswith("not rehearsed: no-such-python cannot be run")


def test_wheels_travel_in_pieces_and_a_lost_or_damaged_one_is_named(tmp_path):
    wheels, kit, host = tmp_path / "wheels", tmp_path / "kit", tmp_path / "host"
    wheels.mkdir()
    host.mkdir()
    for name in ("a.whl", "b.whl"):
        (wheels / name).write_bytes(os.urandom(5000))
    assert stage.cut(wheels, kit, 4096) == len(list(kit.glob("*/piece.*"))) >= 3
    for piece in kit.glob("*/*"):
        shutil.copy(piece, host)
    stage.join(host)
    assert all((host / "wheels" / w.name).read_bytes() == w.read_bytes() for w in wheels.iterdir())
    (host / "piece.01").write_bytes(b"another")
    with pytest.raises(SystemExit, match=r"piece\.01 of \d+ is damaged → send it again"):
        stage.join(host)
    (host / "piece.01").unlink()
    with pytest.raises(SystemExit, match=r"piece\.01 of \d+ is missing"):
        stage.join(host)


def test_what_the_host_has_stays_behind():
    packages = {
        "torch": "2.14.1",
        "nvidia-cublas": "13.0",
        "triton": "3.6",
        "scikit-learn": "1.8",
        "unsloth": "2026.10.9",
        "nvidia": "0",
    }
    assert stage.lacking(packages, ("torch", "Scikit_Learn")) == ["nvidia==0", "unsloth==2026.10.9"]
