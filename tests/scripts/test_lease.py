"""A lease on a host without a network: what it asks of Python, in which order, and how its log ends."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import reference

ROOT = Path(__file__).resolve().parents[2]
# lists runs with the real Python, and keeps what else it is asked for
STUB = """#!/bin/sh
[ "$1" = - ] && exec {python} "$@"
for word in "$@"; do printf '%s\\n' "$word"; done >> {told}
echo ---- >> {told}
"""


@pytest.mark.skipif(not shutil.which("bash") or os.name == "nt", reason="a shell script")
@pytest.mark.parametrize("server", ["", "/there/llama-server"])
def test_a_lease_trains_what_a_group_lacks_and_then_measures(server, tmp_path):
    told = tmp_path / "told"
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "python3"
    stub.write_text(STUB.format(python=sys.executable, told=told), encoding="utf-8")
    stub.chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "LLAMA_SERVER": server, "JOBS": "2"}
    command = ["bash", "scripts/experiments/lease.sh", str(tmp_path), str(tmp_path / "work"), "600", "guide", "rates"]
    subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True)
    train, *serving = told.read_text(encoding="utf-8").split("----\n")[:-1]
    words = train.splitlines()
    runs = json.loads(words[words.index("--runs") + 1])
    stored = {each["name"] for each in reference.load("rates").results}
    assert not [run for run in runs if run["name"] in stored] and words[words.index("--jobs") + 1] == "2"
    assert len(serving) == bool(server) and (not server or server in serving[0])
    log = (tmp_path / "work" / "log").read_text(encoding="utf-8").splitlines()
    assert log[-1].endswith("FINISHED") and "0 runs to do" in log[0]
