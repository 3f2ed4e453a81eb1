"""What engines cost: the dtype that is measured, and the table of stored numbers."""

import json

import pytest

from helpers import reference
from helpers.probes import serving

PROVENANCE = dict.fromkeys(reference.PROVENANCE, "x")


@pytest.mark.parametrize(("capability", "dtype"), [("AVX512", "bfloat16"), ("AVX2", "float32")])
def test_transformers_is_measured_in_the_dtype_that_this_processor_multiplies(capability, dtype, monkeypatch):
    import torch

    from helpers import checkpoints

    class Loaded(Exception):
        """Nothing is generated."""

    def load(_, dtype, device):
        raise Loaded(dtype, device)

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(checkpoints, "load_model", load)
    assert serving.dtype() == dtype
    with pytest.raises(Loaded, match=f"'{dtype}', 'cpu'"):
        serving._bench_transformers({"path": "x", "prompt": [2], "tokens": 1})


def test_the_stored_table_has_a_line_for_each_place_and_engine(tmp_path):
    told = {"load_seconds": 2.5, "answers": [[0.5, 10.0], [0.1, 30.0], [0.3, 90.0]], "peak_bytes": 7e8}
    results = [
        told | {"engine": engine, "gpu": gpu, "gpu_bytes": 9e8 * gpu}
        for gpu in (True, False)
        for engine in ("transformers, bfloat16", "llama.cpp, Q8_0")
    ]
    stored = {"provenance": PROVENANCE, "results": results}
    (tmp_path / "serving.json").write_text(json.dumps(stored), encoding="utf-8")
    table = serving.stored_table(reference.load("serving", tmp_path).results)
    assert list(table.index) == [("on the GPU" if r["gpu"] else "on two cores", r["engine"]) for r in results]
    assert list(table.loc["on the GPU"].loc["llama.cpp, Q8_0"]) == [2.5, 0.3, 30.0, 700, 900]
    assert list(table.loc["on two cores", "on the card, MB"]) == [0, 0]
