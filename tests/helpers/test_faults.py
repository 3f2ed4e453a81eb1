"""Faults of the machine, each for real: processes killed, files cut, networks that hang, locales without Arabic."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from helpers import checkpoints, environment
from helpers.errors import CourseError

PREPARE = [sys.executable, "-m", "helpers.checkpoints"]


# --- preparing the model ----------------------------------------------------------------------------------------------


# the first file that a conversion writes, the largest one, and the last before it names its folder
STAGES = ("base.gguf", "model.safetensors", "generation_config.json")


@pytest.mark.slow
def test_a_conversion_killed_at_any_point_leaves_nothing_half_done(tmp_path):
    """Three conversions at once, each killed when a certain file appears in the folder that it fills.

    All were under way and had not finished, so no moment has to be guessed from how long a conversion takes here.
    """
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = {
        stage: subprocess.Popen(PREPARE, env={**os.environ, "COURSE_CACHE": str(tmp_path / stage)}, **quiet)
        for stage in STAGES
    }
    limit, left = time.time() + 600, dict(running)
    try:
        while left and time.time() < limit:
            for stage, process in list(left.items()):
                if list((tmp_path / stage).glob(f".*/{stage}")) or process.poll() is not None:
                    left.pop(stage).kill()
            time.sleep(0.01)
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    assert not left
    for stage, process in running.items():
        assert process.returncode == -signal.SIGKILL and list((tmp_path / stage).glob(f".*/{stage}")), stage
        for folder in (p for p in (tmp_path / stage).iterdir() if p.is_dir() and not p.name.startswith(".")):
            checkpoints._verify(folder)  # either no cache, or a whole one


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become somebody who may not write")
def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    tmp_path.chmod(0o555)
    import filelock  # noqa: F401  (the child may not read the folder it lies in)

    said, say = os.pipe()
    if not (child := os.fork()):
        os.seteuid(65534)
        try:
            checkpoints.ensure("gemma")
        except BaseException as error:
            os.write(say, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(say)
    told = os.read(said, 4096).decode()
    assert told.startswith("CourseError") and "cannot be written → set COURSE_CACHE" in told


def test_a_cache_in_an_impossible_place_is_named(monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", "/proc/nowhere/cache")
    with pytest.raises(CourseError, match="cannot be (used|written).*set COURSE_CACHE"):
        checkpoints.ensure("gemma")


# --- the network ------------------------------------------------------------------------------------------------------


def test_a_proxy_that_hangs_costs_seconds(monkeypatch):
    """A proxy that accepts and never answers: the question whether the hub can be reached ends by its time-out."""
    server = socket.create_server(("127.0.0.1", 0))
    held = []
    threading.Thread(target=lambda: [held.append(server.accept()) for _ in range(3)], daemon=True).start()
    proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, proxy)
    for name in ("HF_HUB_OFFLINE", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    started = time.perf_counter()
    assert environment.hub_reachable.__wrapped__() is False
    assert held, "the proxy was never asked"
    assert time.perf_counter() - started < 4 * environment.NETWORK_TIMEOUT


# --- the locale -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_locale_without_arabic_reads_every_file():
    """ASCII for files and for the terminal, as on a bare server: the data, the ledger and the exercises still load."""
    program = (
        "import locale, sys; assert locale.getpreferredencoding(False).upper() not in ('UTF-8', 'UTF8'), "
        "locale.getpreferredencoding(False)\n"
        "from helpers import chat, claims, dataset, exercises, reference\n"
        "assert '\\u0627' in ''.join(dataset.load('validation')['query'])\n"
        "assert len(claims.ledger()) == 47 and chat.CHAT_TEMPLATE and exercises.bank()\n"
        "print(dataset.load('test')[0]['query'] and reference.load('live_run').source())\n"
    )
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
