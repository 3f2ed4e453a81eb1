"""The plan of scripts/experiments/format_runs.py.

Every format on a block before the next block, the constrained question put off when time is short.
"""

import time

import pytest


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    from scripts.experiments import format_runs

    return format_runs


def plan(script, seconds_a_task: float, seconds: float, blocks: int = 6, workers: int = 10):
    """All tasks of a run in which an answer to a block takes ``seconds_a_task`` (half as much again if asked twice)."""
    files = {run.name: f"{run.name}.gguf" for run in script.RUNS}
    rows = [{"id": str(i)} for i in range(blocks * script.BLOCK)]
    schedule = script.Schedule(files, rows, [], workers, time.time() + seconds)
    found = []
    for task in schedule:
        found.append(task)
        schedule.done(task, seconds_a_task * (1.5 if task.get("constrained") else 1))
    return found


def test_every_format_is_asked_a_block_before_the_next(script):
    tasks = [t for t in plan(script, 0.01, 1000) if t["kind"] == "answers"]
    assert [t["block"] for t in tasks] == sorted(t["block"] for t in tasks)
    dithered = [run.name for run in script.RUNS if run.base == "dithered"]
    for block in range(6):
        asked = [t["run"] for t in tasks if t["block"] == block]
        assert [name for name in asked if name in dithered] == dithered


def test_with_time_enough_both_questions_are_asked_at_once(script):
    tasks = [t for t in plan(script, 0.01, 1000) if t["kind"] == "answers" and not t["run"].endswith("as packaged")]
    assert all(t["free"] and t["constrained"] for t in tasks)


def test_short_of_time_the_constrained_question_comes_last_and_nothing_is_asked_twice(script):
    tasks = [t for t in plan(script, 100, 300) if t["kind"] == "answers"]
    free = [(t["run"], t["block"]) for t in tasks if t["free"]]
    constrained = [(t["run"], t["block"]) for t in tasks if t["constrained"]]
    assert len(free) == len(set(free)) and len(constrained) == len(set(constrained)) == 8 * 6
    put_off = [t for t in tasks if not t["free"]]
    assert put_off and tasks.index(put_off[0]) > max(i for i, t in enumerate(tasks) if t["free"])


def test_kl_is_taken_against_f16_of_the_same_base(script):
    for task in (t for t in plan(script, 0.01, 1000) if t["kind"] == "kl"):
        assert task["reference"] == ("F16 as packaged.gguf" if task["run"].endswith("as packaged") else "F16.gguf")
