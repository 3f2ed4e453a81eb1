"""llama.cpp's server inside this process (``xllamacpp``): requests from token ids, held to a grammar where asked."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import calls, chat
from .environment import cores
from .errors import CourseError
from .generation import LIMIT, Generation, prompt


@dataclass(frozen=True)
class Answer:
    """What llama.cpp's server wrote: token ids (stop token too), prompt tokens read, seconds of reading and writing."""

    token_ids: tuple[int, ...]
    prompt_tokens: int
    prompt_seconds: float
    seconds: float

    def generation(self, tokenizer) -> Generation:
        """The same as a ``Generation``, as transformers' side of the course has them."""
        ended = bool(self.token_ids) and self.token_ids[-1] in chat.STOP_IDS
        stopped_by = tokenizer.convert_ids_to_tokens(self.token_ids[-1]) if ended else LIMIT
        return Generation(tokenizer.decode(list(self.token_ids)), self.token_ids, stopped_by)


class Server:
    """llama.cpp's server inside this process, for one GGUF; several requests may be under way at once.

    Parameters
    ----------
    path : a GGUF
    parallel : requests at a time, each with a cache of its own
    threads : of the processor; ``environment.cores`` by default
    context : tokens that a request may hold
    keep_all : keep keys and values outside the sliding window as well, so that a second request with the same prompt
        starts from them
    """

    def __init__(
        self,
        path: Path | str,
        parallel: int = 1,
        threads: int | None = None,
        context: int = 2048,
        keep_all: bool = True,
    ):
        if not Path(path).exists():
            raise CourseError(f"{Path(path).name} does not exist", "write it first: gguf.write_f16, llama_cpp.quantize")
        try:
            import xllamacpp
        except ImportError:
            raise CourseError("llama.cpp's server is not installed", "pip install xllamacpp==2026.10.11549") from None
        asked = xllamacpp.CommonParams()
        asked.model.path = str(path)
        asked.n_ctx, asked.n_parallel, asked.kv_unified = context * parallel, parallel, False
        asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = threads or cores()
        asked.special = True  # control tokens are part of the text
        asked.swa_full = keep_all
        asked.warmup, asked.fit_params, asked.ui, asked.n_gpu_layers = False, False, False, 0
        asked.cache_ram_mib, asked.verbosity = 0, -1
        with _quiet_stderr():
            self._server = xllamacpp.Server(asked)
        self.address = self._server.listening_address

    def complete(
        self, ids: list[int], grammar: str | None = None, max_new_tokens: int = 128, ignore_eos: bool = False
    ) -> Answer:
        """Greedy generation from token ids, ended by the stop ids the file declares; ``grammar`` (GBNF) constrains it.

        Raises CourseError when llama.cpp refuses the request, such as for a grammar it cannot read.
        """
        import requests

        asked = {
            "prompt": list(ids),
            "n_predict": max_new_tokens,
            "temperature": 0,
            "samplers": ["temperature"],
            "repeat_penalty": 1.0,
            "return_tokens": True,
            "cache_prompt": True,
            "ignore_eos": ignore_eos,
        }
        if grammar:
            asked["grammar"] = grammar
        reply = requests.post(f"{self.address}/completion", json=asked, timeout=600)
        if reply.status_code != 200:
            raise CourseError(f"llama.cpp refused the request: {reply.text[:200]}", "is the grammar well-formed?")
        told = reply.json()
        timings = told["timings"]
        return Answer(
            tuple(told["tokens"]), timings["prompt_n"], timings["prompt_ms"] / 1e3, timings["predicted_ms"] / 1e3
        )

    def close(self) -> None:
        """Stop the server and give the memory back."""
        self._server = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def generate(server: Server, tokenizer, rows, constrained: bool = False, max_new_tokens: int = 128) -> list[Generation]:
    """Greedy generations of llama.cpp for data rows, each held to the grammar of its tools if ``constrained``."""
    from tqdm import tqdm

    found = []
    for row in tqdm(list(rows), desc="llama.cpp", unit="row", file=sys.stdout, leave=False):
        ids = tokenizer(prompt(row), add_special_tokens=False).input_ids
        grammar = calls.grammar(json.loads(row["tools"])) if constrained else None
        found.append(server.complete(ids, grammar, max_new_tokens).generation(tokenizer))
    return found


@contextmanager
def _quiet_stderr():
    """llama.cpp's notes on starting go to a file that is thrown away; C writes them, below Python's sys.stderr."""
    with tempfile.TemporaryFile() as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
