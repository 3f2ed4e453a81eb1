"""llama.cpp's server: grammars with control tokens, answers that can be read, and what is missing or wrong named."""

import json
import sys

import pytest

from helpers import calls, checkpoints, dataset, generation, llama_cpp, llama_server
from helpers.errors import CourseError


@pytest.fixture(scope="module")
def server(small):
    with llama_server.Server(small) as server:
        yield server


def test_engines_that_are_not_installed_are_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(CourseError, match="pip install xllamacpp"):
        llama_server.Server(tmp_path / "x.gguf")


@pytest.mark.slow
def test_a_grammar_can_ask_for_control_tokens(server):
    ids = server.complete(
        [2, 105, 4368, 107], 'root ::= <escape> "abc" <end_function_call>', max_new_tokens=16
    ).token_ids
    assert ids[0] == 52 and 49 in ids


@pytest.mark.slow
def test_every_constrained_answer_that_ends_can_be_read_and_fits(server, tokenizer):
    from helpers.dispatch import check_call

    rows = [r for r in dataset.load("test").select(range(40)).to_list() if r["kind"] == "single"][:3]
    ended = 0
    for row in rows:
        tools = json.loads(row["tools"])
        # the base model would only write text
        start = tokenizer(generation.prompt(row) + "<start_function_call>", add_special_tokens=False).input_ids
        grammar = (
            calls.grammar(tools)
            .replace("root ::= call+ | text", "root ::= rest")
            .replace('call ::= <start_function_call> "call:"', 'rest ::= "call:"')
        )
        found = server.complete(start, grammar, max_new_tokens=96).generation(tokenizer)
        if found.stopped_by != generation.LIMIT:
            (call,) = calls.parse("<start_function_call>" + found.text)
            check_call(call, tools)
            ended += 1
    assert ended


@pytest.mark.slow
def test_a_bad_grammar_and_a_missing_file_are_named(server, tmp_path):
    with pytest.raises(CourseError, match="grammar"):
        server.complete([2, 5], "root ::= (")
    with pytest.raises(CourseError, match="does not exist"):
        llama_cpp.quantize(tmp_path / "no.gguf", tmp_path / "x.gguf", "Q8_0")
    with pytest.raises(CourseError, match="no format"):
        llama_cpp.quantize(tmp_path / "no.gguf", tmp_path / "x.gguf", "Q9")
    with pytest.raises(CourseError, match="adapter_config"):
        checkpoints.merge_adapter(checkpoints.ensure("gemma"), tmp_path)
    with pytest.raises(CourseError, match="does not exist"):
        llama_cpp.Decoder(tmp_path / "no.gguf")
