# %% [markdown]
# # 03 · Memory surgery: every byte of a training step
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/arabic-functiongemma-course/blob/main/notebooks/03_memory_surgery.ipynb)
#
# **After this notebook you can** say for every byte of a training step what it is for, choose a way of [checkpointing][g-checkpointing] by what it keeps and what it
# computes again, rebuild [NF4][g-nf4] and [double quantization][g-dq] from a normal distribution, and look up what to set when a GPU runs out.
#
# <div dir="rtl" lang="ar">
#
# لماذا تنفد ذاكرة معالج الرسوميات في خطوة تدريبٍ لنموذج صغير كهذا؟<br>
# نحصي كل بايت في خطوة التدريب ونبيّن لأي غرضٍ هو، ونقيس ما توفّره نقاط الحفظ وإعادة الحساب وما يوفّره تكميم <bdi dir="ltr">NF4</bdi>، وثمنَ كلٍّ منهما.<br>
# بعد هذا الدفتر تستطيع أن تقول أين يذهب كل بايت، وأن تبني تكميم <bdi dir="ltr">NF4</bdi> والتكميم المزدوج من الصفر، وأن تعرف ما تغيّره من الإعدادات حين تنفد الذاكرة.
#
# </div>
#
# **You need** notebooks 00 and 02. **Time**: 11 minutes on two CPU cores. **Memory**: 8 GB.
# A CPU will do: it runs on the processor, with or without a GPU. Minutes on Colab's have not been measured.
#
# **The core** is 3.1 to 3.5, 3.8, 3.9 and the table of 3.16: about 35 minutes, bets included. Sections marked *(deeper)* take 30 more and can be skipped; exercise 3.3 uses one, section 3.10.
#
# It follows section 3 of the guide and settles claims 14-21, 37, 39, 41 and 47. What needs a GPU was measured on one by `scripts/experiments/memory_runs.py` and is read from
# `assets/reference/memory.json`. Terms are explained in the course's [glossary](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md), in English and Arabic.
#
# [g-checkpointing]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#checkpointing
# [g-nf4]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#nf4
# [g-dq]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#double-quantization

# %%
# What is measured here are transformers' own modules: with a GPU in sight Unsloth replaces
# some of them (the norm, the loss) as it is imported.
import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""

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
# ## 3.1 · Why did my T4 run out?
#
# The model has 270 million parameters. In bfloat16 that is half a gigabyte, and Colab's T4 has 14.7 GiB. Still, eight rows of 512 tokens are enough for *CUDA out of memory* with transformers and PEFT alone, that is, without Unsloth. We took that step on a GPU with room
# to spare, and asked its allocator how much it needed.

# %%
import pandas
import torch

from helpers import exercises, plots, reference
from helpers.figures import diagrams
from helpers.figures import notebook_03 as figures
from helpers.probes import checkpointing, memory

gpu = reference.load("memory")
T4 = 14.7 * 2**30  # bytes that torch finds on Colab's T4


def measured(kind, **chosen):
    """Stored GPU results of a kind, as a table; `above` is MiB above the model."""
    rows = [r for r in gpu.results if r["kind"] == kind]
    table = pandas.DataFrame([r for r in rows if all(r[k] == v for k, v in chosen.items())])
    if {"static_bytes", "peak_bytes"} <= set(table):
        table["above"] = (table["peak_bytes"] - table["static_bytes"]) / 2**20
    return table


needed = measured("ledger", batch=8)["measured_bytes"].iloc[0]
print(f"needed: {needed / 2**30:.1f} GiB; a T4 has {T4 / 2**30:.1f}   ({gpu.source()})")

# %% [markdown]
# So most of it is not the model. Before we look for it, guess. A language model answers with *logits*: one number for each word of its vocabulary, at every position. This vocabulary has 262,144 words. The labels of a call stand at
# the end of a row, on a few dozen tokens; transformers computes logits everywhere.
#
# **Your bet:** the memory above the model is all that a step needs on top of the model itself. At 2,048 tokens, which share of it is there only because logits are computed at every position, and not just where there is a label?

# %%
bet_logits = exercises.bet(
    "logits-share", "share of the memory that needless logits take",
    low=0, high=100, step=5, unit="%",
)

# %% [markdown]
# ### A ledger of bytes
#
# A training step holds six kinds of things: the frozen weights, the adapters, their gradients, the optimizer's numbers, what the forward pass saves for the backward pass, and what an operation needs while it runs.
#
# `memory.Ledger` follows every tensor's storage, from the operation that makes it to the moment it is freed. It needs no numbers for that. On PyTorch's `meta` device tensors have shapes and nothing else, so the step that a T4
# cannot take is accounted for on this machine, in a few seconds.

# %%
ghost = checkpointing.adapted(checkpoint, device="meta")  # transformers + PEFT, no Unsloth
optimizer = torch.optim.AdamW([p for p in ghost.parameters() if p.requires_grad])


def ghost_step(mode="none", loss="full", rows=8, tokens=512):
    """The ledger of one step; in each row the last 64 tokens carry labels."""
    ids = checkpointing.random_ids(ghost, rows, tokens)
    return checkpointing.step(ghost, ids, mode, loss, 64, optimizer)["ledger"]


ghost_step(rows=1, tokens=8)  # the optimizer's numbers exist from its first step on
ledger = ghost_step()

# %% [markdown]
# At the moment when most is alive, this is what the bytes are for:

# %% tags=["nbval-ignore-output"]
at_peak = ledger.peak.by("category")
biggest = max(at_peak, key=at_peak.get)
finding = (
    f"Eight rows of 512 tokens: {ledger.peak.total / 2**30:.1f} GiB at the peak, of which the "
    f"frozen weights are {at_peak['weights'] / ledger.peak.total:.0%}; “{biggest}” is the largest."
)
plots.show(diagrams.step_bytes(at_peak), finding)

# %% [markdown]
# Kinds of bytes do not tell whom to blame. So sort the same bytes by owner: the *layers*, with all that they keep and make, and the *loss*, which begins where the logits do. And look at five moments of the step, from the start
# to the end of the backward pass.

# %% tags=["nbval-ignore-output"]
marks = {"start": "before the step", "layers": "layers have run", "forward": "loss is computed"}
moments = {told: memory.owners(ledger.marks[mark]) for mark, told in marks.items()}
moments["at the peak"] = whose = memory.owners(ledger.peak)
moments["gradients are there"] = memory.owners(ledger.marks["backward"])
held = {owner: f"{size / 2**30:.1f} GiB" for owner, size in whose.items()}
finding = (
    f"At its peak the loss alone holds {held['loss']}, all 18 layers {held['layers']}, "
    f"the frozen weights {held['weights']}."
)
plots.show(figures.held(moments, limit=T4), finding)

# %% [markdown]
# The layers fill up during the forward pass. Then comes the loss. It makes the peak, where the forward pass ends and the backward pass begins. When the gradients are there, nearly all is free again.
#
# Is the ledger right? On the GPU the allocator kept its own account of five steps of different shapes.

# %% tags=["nbval-ignore-output"]
table = measured("ledger")[["batch", "tokens", "measured_bytes", "ledger_bytes"]]
table["explained"] = table["ledger_bytes"] / table["measured_bytes"]
assert table["explained"].between(0.95, 1).all()
table[["measured_bytes", "ledger_bytes"]] /= 2**30
table = table.rename(columns={"measured_bytes": "measured, GiB", "ledger_bytes": "ledger, GiB"})
table.style.hide(axis="index").format({"explained": "{:.1%}"}, precision=2)

# %% [markdown]
# What is missing, 65 to 92 MiB, does not grow with the step. A ledger of tensors cannot see what a kernel or a library holds for itself. The workspace that cuBLAS keeps is the likely owner; it was not traced.

# %% [markdown]
# ## 3.2 · The loss's own gigabytes
#
# Who exactly holds the most? Here are the six largest holders of that peak. `_log_softmax` is saved for the gradient; the other two of its size are gradients of the logits on their way back.

# %% tags=["nbval-ignore-output"]
holders = list(ledger.peak.by("category", "module", "kind").items())[:6]
rows = [{"for": c, "module": m, "made by": k, "GiB": size / 2**30} for (c, m, k), size in holders]
pandas.DataFrame(rows).style.hide(axis="index").format({"GiB": "{:.2f}"}, escape="html")

# %% [markdown]
# A float32 for each of 262,144 words is 1 MiB a token, and the loss holds it three times. But 64 tokens of a row carry labels. So there are three ways to the same loss:
#
# - *full* computes logits at every position and ignores most of them. This is what transformers does.
# - *chunked* goes through the labels in pieces of 128. It makes a piece's logits, adds up their loss, and forgets the logits. For the gradient it makes them once more.
# - *response* computes logits where there is a label, once.
#
# On the real model, with a row of 256 tokens, their values agree:

# %%
model = checkpointing.adapted(checkpoint, device="cpu")  # the same model, with numbers
ids = checkpointing.random_ids(model, batch=1, tokens=256)  # (1, 256)
values = {}
for way in checkpointing.LOSSES:
    values[way] = checkpointing.loss_of(model, ids, way, labelled=64).item()
apart = max(values.values()) / min(values.values()) - 1
assert apart < 1e-3
print(f"{', '.join(values)}: {values['full']:.0f} nats each, apart by {apart:.1%}")

# %% [markdown]
# Their bytes do not. These were measured on the GPU, up to 4,096 tokens in a row.

# %% tags=["nbval-ignore-output"]
losses, lengths = measured("losses"), (128, 256, 512, 1024, 2048, 4096)
at = losses[(losses["tokens"] == 2048) & (losses["labelled"] == 64)].set_index("loss")["above"]
logits_share = 1 - at["response"] / at["full"]
finding = (
    f"At 2,048 tokens with 64 labels, needless logits are {logits_share:.0%} of the memory above "
    "the model. Where few tokens carry labels both cures work; where all do, chunks."
)
plots.show(figures.loss_curves(losses, lengths), finding)

# %%
from helpers.claims import verdict

verdict("18-what-the-hog-is", measured=100 * logits_share)

# %% [markdown]
# The guide makes no claim about this. The question is ours. *Misleading* is the verdict on a section about memory that leaves out the largest part of a plain step. In fairness: the guide is about Unsloth, and Unsloth's own loss never makes all logits at once (3.7). The share above is that of transformers and PEFT without it.
#
# **Why so much?** A hidden state has 640 numbers a token, logits have 262,144: 410 times as many. Layers keep a great deal of small things, the loss three of this size. A model with a small body and a large vocabulary is the worst case.
# Training on the response makes the cure free, since nobody needs the logits of the prompt. Notebook 04 trains that way.

# %% [markdown]
# ## 3.3 · What checkpointing keeps
#
# Two things are easily mixed. What is *kept* stands in memory when the backward pass begins; the *peak* is the highest point of a whole step. Checkpointing lowers the first, and pays by computing again. Whether the second falls as well depends on where the peak stands. In section 3.2 it stood in the loss. Checkpointing takes away what the layers keep below such a peak, and not the logits that make it.
#
# Now to the layers. The backward pass needs what the forward pass computed, so autograd saves it. Which tensors are these? `torch.autograd.graph.saved_tensors_hooks` calls a function with every tensor that is saved. Two of them may be views of the same memory,
# and weights are saved too, though they take no new bytes. So count each *storage* once, and leave the parameters out.

# %%
known = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
kept = []


def count_storage(tensor):
    """Called for every tensor that autograd saves."""
    address = tensor.untyped_storage().data_ptr()
    if address not in known and tensor.numel():
        known.add(address)
        kept.append(tensor.untyped_storage().nbytes())
    return tensor.detach()


with torch.autograd.graph.saved_tensors_hooks(count_storage, lambda tensor: tensor):
    loss = model(input_ids=ids, labels=ids).loss

# %% [markdown]
# `memory.saved` does the same and remembers each tensor's shape and module. The two must agree. And with the modules known, we can say what *one* layer keeps of *one* token.

# %% tags=["nbval-ignore-output"]
with memory.saved(model) as found:
    loss = checkpointing.loss_of(model, ids)
print(f"by hand {sum(kept) / 2**20:.1f} MiB, by the helper {found.bytes() / 2**20:.1f} MiB")
assert abs(sum(kept) / found.bytes() - 1) < 0.01
in_layers = sum(t["bytes"] for t in found.tensors if t["module"].startswith("layers."))
inside = in_layers / (18 * ids.numel())
print(f"a layer keeps {inside:,.0f} bytes of a token; its input has {640 * 2:,}")

# %% [markdown]
# Checkpointing is the offer to keep less, and to compute again what is missing. The guide says of it:
#
# > Standard checkpointing discards all activations and recomputes them.
#
# **Your bet:** with standard checkpointing, how many tensors of a layer input's shape are still saved, over all 18 layers?

# %%
bet_inputs = exercises.bet("inputs-kept", "tensors of that shape that stay", low=0, high=72, step=2)

# %% [markdown]
# Switch it on, and look for tensors of a layer input's shape, (1, 256, 640), in bfloat16.

# %%
with checkpointing.checkpointing(model, "layer"), memory.saved(model) as found:
    checkpointing.loss_of(model, ids, "response", labelled=64)
inputs = [t for t in found.tensors if t["shape"] == (1, 256, 640) and t["dtype"] == "bfloat16"]
verdict("39-checkpointing-discards-all", measured=len(inputs))

# %% [markdown]
# **Why.** To run a layer again one needs what went into it. That is 1,280 bytes a token and layer, a small part of what the layer keeps otherwise. So memory still grows with the number of layers and with N, only from a much lower start. Chen et al.
# (2016) place checkpoints every √L layers; PyTorch's users place one at every layer. Exercise 3.4 asks which is better here.

# %% [markdown]
# ## 3.4 · What is computed again
#
# > Unsloth's selective approach only recomputes the specific non-linearities (like the GeGLU activation).
#
# If that were so, matrix products would run once, as without checkpointing.
#
# **Your bet:** how often does `q_proj`, a matrix product, run in each layer in one training step with Unsloth's checkpointing?

# %%
bet_calls = exercises.bet(
    "projection-calls", "forward calls of q_proj in each layer and step", low=0, high=5, step=1
)

# %% [markdown]
# First build what the guide describes. `torch.utils.checkpoint` takes any function; give it the non-linearity alone. The result of the layer must not change by a bit.

# %%
from torch.utils.checkpoint import checkpoint as run_again


def frugal_mlp(mlp):
    """A forward that keeps gate and up; act(gate)·up is made again for the gradient."""

    def forward(x):  # (B, N, 640)
        gate, up = mlp.gate_proj(x), mlp.up_proj(x)
        inner = run_again(lambda g, u: mlp.act_fn(g) * u, gate, up, use_reentrant=False)
        return mlp.down_proj(inner)  # inner: (B, N, 2048)

    return forward


mlp = model.get_base_model().model.layers[0].mlp
x = torch.randn(1, 16, 640, dtype=torch.bfloat16)
assert torch.equal(frugal_mlp(mlp)(x), mlp(x))

# %% [markdown]
# Now four ways side by side: nothing, every layer, the non-linearity alone, and every layer with what is kept moved to the host's memory. The first 8 tokens will do, since counts and gradients are what matters here, and some processors are slow in bfloat16.
# Gradients must be the same to the last bit.

# %% tags=["nbval-ignore-output"]
rows, first, short = [], None, ids[:, :8]
for mode in checkpointing.MODES:
    one = checkpointing.step(model, short, mode, "response", labelled=4)
    first = first or one["gradients"]
    same = all(torch.equal(one["gradients"][name], first[name]) for name in first)
    held = one["ledger"].marks["forward"].by("category")["saved"]
    rows.append({"way": mode, "MiB saved": held / 2**20, **one["calls"], "same gradients": same})
side_by_side = pandas.DataFrame(rows).set_index("way")
assert side_by_side["same gradients"].all()
side_by_side.style.format({"MiB saved": "{:.1f}"})

# %% [markdown]
# The columns `q_proj` and `act_fn` count calls in 18 layers. Of the MiB saved, 4 are the loss's in every row (4 labels, 1 MiB each); only the rest is the layers'. On a processor the host's memory is the memory, so the fourth row saves as much as the second. The guide's kind is the third row. It would hardly be worth having: the non-linearity alone holds a small part of what is saved, and everything around it stays.
#
# So what does Unsloth do? Count on the real thing.

# %% tags=["nbval-ignore-output"]
from helpers import training

recipe = training.Recipe(gradient_checkpointing="unsloth", max_length=512)
unsloth_model, _ = training.load(recipe, checkpoint)
unsloth_model.train()
with memory.counted(unsloth_model, "q_proj", "act_fn") as calls:
    unsloth_model(input_ids=ids, labels=ids).loss.backward()
per_layer, per_act = calls["q_proj"] / 18, calls["act_fn"] / 18
print(f"q_proj {per_layer:g} times in each layer, act_fn {per_act:g} times")

# %% [markdown]
# That was on a processor. On a GPU Unsloth compiles the layers, and a hook on a module may see nothing. There the profiler counted matrix products of `q_proj`'s shape instead. One of them in each layer is not `q_proj` but the gradient through `o_proj`,
# which has the same shape; it is taken off.

# %% tags=["nbval-ignore-output"]
counted = measured("calls")
on_gpu = (counted["products"] / counted["layers"] - 1).max()
verdict("15-selective-checkpointing", measured=per_layer, act=per_act, gpu=on_gpu)

# %% [markdown]
# The whole layer runs again, its matrix products too. What is kept and what is run again, drawn:

# %% tags=["nbval-ignore-output"]
finding = "Checkpointing keeps a layer's input and runs all of the layer again, Unsloth's as well."
plots.show(diagrams.checkpointing(), finding)

# %% [markdown]
# ### Two cures for two owners
#
# Back to the step that a T4 cannot take. Checkpointing is for what the layers hold, logits at the labels are for what the loss holds. Each saves its own part, so look at the owners apart, and at both cures together.

# %% tags=["nbval-ignore-output"]
cured = {"neither": whose}
for name, mode, way in (
    ("checkpointing", "layer", "full"),
    ("logits at labels", "none", "response"),
    ("both", "layer", "response"),
):
    cured[name] = memory.owners(ghost_step(mode, way).peak)
told = []
for name in ("checkpointing", "logits at labels"):
    before_after = []
    for owner in ("layers", "loss"):
        sizes = (f"{held_by[owner] / 2**30:.1f}" for held_by in (whose, cured[name]))
        before_after.append(f"{owner} {' → '.join(sizes)} GiB")
    told.append(f"{name.capitalize()}: {', '.join(before_after)}")
plots.show(figures.held(cured, limit=T4), ". ".join(told) + ".")

# %% [markdown]
# The price of checkpointing is time: every layer runs its forward pass twice. On the GPU, one row of 1,024 tokens, 64 labels, plain PyTorch. Read the milliseconds with care: on this GPU such a step takes about as long for 128 tokens as for 4,096, so they are times of starting kernels, not of arithmetic:

# %% tags=["nbval-ignore-output"]
on_gpu_ways = measured("modes", attention="sdpa", tokens=1024).set_index("mode")
change = on_gpu_ways["gradient_difference"] / on_gpu_ways["gradient_scale"]
slower = on_gpu_ways.loc["layer", "seconds"] / on_gpu_ways.loc["none", "seconds"]
shown = {
    "MiB above the model": on_gpu_ways["above"].round().astype(int),
    "milliseconds": (1000 * on_gpu_ways["seconds"]).round().astype(int),
    "largest change of a gradient": change.map("{:.1%}".format),
}
pandas.DataFrame(shown)

# %% [markdown]
# The last column is no fault of checkpointing. With SDPA attention on a GPU, gradients move by about a percent of the largest from run to run, because its backward pass adds up in no fixed order.

# %% [markdown]
# ## 3.5 · Sequence length: which curve bends
#
# > It turns a $O(N^2)$ memory bottleneck (where $N$ is sequence length) into a more manageable $O(N)$ profile.
#
# Where would N² come from? Eager attention writes out its scores: among others a float32 matrix of (4 heads, N, N) in each layer, 16·N² bytes, four times as many for twice the length. Everything outside attention grows with N.
#
# **Your bet:** with checkpointing at every layer and eager attention, the memory above the model grows from N = 2,048 to 4,096 by which factor? (2 is linear, 4 is quadratic.)

# %%
bet_growth = exercises.bet(
    "growth", "memory at N = 4,096 ÷ at N = 2,048, checkpointed, eager",
    low=1.0, high=5.0, step=0.25,
)

# %% [markdown]
# The ledger on `meta` counts one row of growing length, for a loss on 64 labels, so that the logits stay out of the way. SDPA, the usual attention, works in one fused kernel that never makes that matrix (its fallback does). `meta` has no such kernel, so SDPA's curves were measured on the GPU. The GPU's eager steps are drawn beside the ledger's.

# %% tags=["nbval-ignore-output"]
eager = {"none": [], "layer": []}
for mode, sizes in eager.items():
    for n in lengths:
        one = ghost_step(mode, "response", rows=1, tokens=n)
        sizes.append(one.peak.total - one.marks["start"].total)
modes = measured("modes")


def growth(attention, mode):
    """Memory above the model at 4,096 tokens over that at 2,048, on the GPU."""
    chosen = modes[(modes["attention"] == attention) & (modes["mode"] == mode)].set_index("tokens")
    return chosen.loc[4096, "above"] / chosen.loc[2048, "above"]


grown = {f"{a}, {m}": growth(a, m) for a in ("eager", "sdpa") for m in ("none", "layer")}
finding = (
    f"From 2,048 to 4,096 tokens memory grows ×{grown['eager, none']:.1f} with eager attention, "
    f"checkpointed ×{grown['eager, layer']:.1f}; with SDPA ×{grown['sdpa, none']:.1f}, "
    f"checkpointed ×{grown['sdpa, layer']:.1f}."
)
plots.show(figures.growth_curves(eager, modes, lengths), finding)

# %% [markdown]
# Checkpointing shifts the curves down. It does not straighten them; SDPA does. On the right the GPU's eager marks lie above the ledger's line, at 2,048 and at 4,096 tokens by about one matrix of (4 heads, N, N). Something that the ledger does not see holds one more.

# %%
others = {"plain": grown["eager, none"], "sdpa": grown["sdpa, layer"]}
verdict("17-n-squared-to-n", measured=grown["eager, layer"], **others)

# %% [markdown]
# **Why.** Checkpointing removes what *layers* keep, so what it divides by is the number of layers. While a layer runs again, its own scores are there in full, and they grow with N². What makes attention linear in memory is a kernel that works through the scores
# in tiles. That is FlashAttention's idea and SDPA's way. With it no such matrix stands in memory, with checkpointing or without.

# %% [markdown]
# ## 3.6 · When Unsloth offloads (deeper)
#
# The guide does not speak of offloading. Unsloth's pages do, and its checkpointing brings it along: layer inputs wait in the host's memory. Always?
#
# **Your bet:** in a batch of how many tokens is the first layer input copied to the host?

# %%
bet_offload = exercises.bet(
    "offload-tokens", "tokens in a batch from which layer inputs go to the host",
    low=0, high=4000, step=100,
)

# %% [markdown]
# On a GPU, four layers of width 640 were run through Unsloth's own checkpoint function, with batches of different size, and the profiler counted the copies between GPU and host.

# %% tags=["nbval-ignore-output"]
copied = measured("offload")
to_host = [c["DtoH"] for c in copied["copies"]]
limit = 2 * 2**20 / (640 * 2)  # 2 MiB, in tokens of 640 bfloat16 numbers
offloaded = int(copied["tokens"][[n > 0 for n in to_host]].min())
stayed = int(copied["tokens"][[n == 0 for n in to_host]].max())
finding = (
    f"No copy up to {stayed:,} tokens; from {offloaded:,} on, {max(to_host)} of 4 layer inputs "
    "go to the host."
)
plots.show(figures.copies(copied["tokens"], to_host, limit), finding)
verdict("16-always-offloads", measured=offloaded, limit=limit)

# %% [markdown]
# **Why.** Unsloth moves an activation only if it is larger than 2 MiB, and never the last one, which is needed again at once. The number of tokens is arithmetic on that rule: 640 numbers of two bytes make 1,280 bytes a token. A model eight times as wide crosses the line
# with an eighth of the tokens, and that is where offloading pays.
#
# What does it save here? One row of 4,096 tokens in Unsloth's three modes, on the GPU, each in a process of its own:

# %% tags=["nbval-ignore-output"]
names = {"False": "none", "True": "every layer", "unsloth": "every layer, offloaded"}
three = measured("held").set_index("checkpointing").rename(names)
three["copies to the host"] = [c["DtoH"] for c in three["copies"]]
three["peak, MiB"] = three["peak_bytes"] / 2**20
fell = three.loc["every layer", "peak, MiB"] - three.loc["every layer, offloaded", "peak, MiB"]
travelled = 17 * 4096 * 640 * 2 / 2**20
print(f"17 inputs of {travelled / 17:.0f} MiB travel, {travelled:.0f} MiB in all")
print(f"the peak falls by {fell:.0f} MiB")
three[["copies to the host", "peak, MiB"]].style.format({"peak, MiB": "{:,.0f}"})

# %% [markdown]
# Three copies are made in every mode, and are not of layer inputs. The peak falls by less than what travels. Part of the difference is known: two buffers of an input's size, which the copies go through, stay on the GPU. The rest was not traced. Checkpointing alone has
# already taken away most of what the step needed, so offloading is the smaller cure by far.

# %% [markdown]
# ## 3.7 · Unsloth against plain TRL and PEFT (deeper)
#
# > Unsloth utilizes **Triton Kernels** to rewrite the most expensive part of the transformer: the **Backward Pass**.
#
# There are two claims in this sentence: who writes the kernels, and which pass is the expensive one. Triton is a language for GPU kernels. A person can write in it, and so can `torch.compile`.
#
# **Your bet:** one training step of Gemma 3 under Unsloth starts some two thousand kernels. How many of them are Triton written by hand?

# %%
counts_of = {"none": 0, "1 to 9": 9, "10 to 99": 99, "100 to 999": 999, "1,000 or more": 10**6}
bet_kernels = exercises.bet(
    "handwritten-kernels", "hand-written Triton kernels in a step", options=list(counts_of)
)

# %% [markdown]
# The profiler names every kernel of one step of 1,024 tokens, and the name tells the author. Inductor, which is `torch.compile`, begins its Triton kernels with `triton_`. Hand-written ones have the names that Unsloth's files pass to `triton.jit`. A small Llama is counted the same way,
# as a control: a count of none means something only if the counter finds hand-written kernels where there are some.

# %% tags=["nbval-ignore-output"]
profiles = {r["library"]: r["origins"] for r in gpu.results if r["kind"] == "kernels"}
authors = ("Triton by hand", "torch.compile", "library", "copy")
named = {"plain": "Gemma 3, plain", "unsloth": "Gemma 3, Unsloth", "llama": "small Llama, Unsloth"}
counts = {}
for profiled, origins in profiles.items():
    counts[named[profiled]] = {a: origins[a]["count"] if a in origins else 0 for a in authors}
print("by hand on Gemma 3:", ", ".join(profiles["unsloth"]["Triton by hand"]["names"]))
pandas.DataFrame(counts)

# %%
micro = {author: told["microseconds"] for author, told in profiles["unsloth"].items()}
of_time = 100 * (micro["Triton by hand"] + micro["torch.compile"]) / sum(micro.values())
started = counts[named["unsloth"]]
by_hand = started["Triton by hand"]
of_these = {"by_hand": by_hand, "compiled": started["torch.compile"]}
verdict("14-unsloth-triton-backward", of_time, kernels=sum(started.values()), **of_these)

# %% [markdown]
# **Why.** For Llama, Unsloth has hand-written norms, rotary embeddings and activations, and the counter sees them. Gemma 3 takes another path: its layers go through `torch.compile`, which writes Triton itself. Only the loss, a fused head and cross-entropy, is written by hand.
# It never makes all logits at once.
#
# Now the other claim. Is the backward pass the most expensive part? Both passes on a GPU, nothing checkpointed, medians of twenty steps, at three sizes in plain PyTorch and at two under Unsloth:

# %% tags=["nbval-ignore-output"]
passes = measured("passes").set_index(["library", "batch", "tokens"])
passes["backward"] = 1 - passes["forward_seconds"] / passes["step_seconds"]
of_step = passes["backward"].groupby("library").agg(["min", "max"]) * 100
least, most = of_step.loc["plain"]
fast_least, fast_most = of_step.loc["unsloth"]
finding = (
    f"The backward pass takes {least:.0f} to {most:.0f} % of a step in plain PyTorch, "
    f"{fast_least:.0f} to {fast_most:.0f} % under Unsloth."
)
plots.show(figures.backward_shares(passes), finding)
under_unsloth = {"fast_least": fast_least, "fast_most": fast_most}
verdict("47-backward-most-expensive", measured=least, most=most, **under_unsloth)

# %% [markdown]
# **How far this goes.** When all weights are trained, a backward pass does twice the arithmetic of a forward pass: a gradient for the inputs and one for the weights. Here the weights are frozen, so the second half is done for the small adapters only. That is a reason to expect half rather than two thirds, but these times do not
# prove it. The three plain steps take nearly the same time, though the largest has sixteen times the tokens of the smallest: this GPU waits for kernels to be started more than it computes. And under Unsloth only two sizes were measured, of one row each.
#
# And is it faster? Five ways: plain and Unsloth, each without checkpointing and with it at every layer, and Unsloth with offloading. Each takes thirty steps of four rows from the course's training data on one GPU, in a process of its own, from the same adapter, with the same rows. The plain process checks that Unsloth was never imported.

# %% tags=["nbval-ignore-output"]
runs = measured("run")
names = {"False": "", "True": ", layers", "unsloth": ", offload"}
runs["way"] = runs["library"] + runs["checkpointing"].map(names)
runs = runs.sort_values("way").set_index("way")
assert not runs.loc[["plain", "plain, layers"], "unsloth_imported"].any()
runs["ms"] = 1000 * runs["median_seconds"]
runs["GiB"] = [max(peaks) / 2**30 for peaks in runs["peaks"]]
plain, fast = runs.loc["plain"], runs.loc["unsloth"]
compiling = sum(fast["seconds"][:2]) - sum(plain["seconds"][:2])
pays = compiling / (plain["median_seconds"] - fast["median_seconds"])
finding = (
    f"Once compiled, a step of Unsloth is {plain['ms'] / fast['ms']:.1f} times as fast as a plain "
    f"one; compiling takes {compiling:.0f} s, as much as it saves in {pays:.0f} steps."
)
plots.show(figures.ways(runs), finding)

# %% [markdown]
# The five losses stay near each other, as the numbers below say: they start from the same adapter and differ by rounding, and each run goes on from its own rounded numbers. One run of each was made, so a difference of a fifth in speed means little: with every layer checkpointed Unsloth comes out a fifth faster when it also offloads, which is more work. These steps, too, wait for kernels to start, and Unsloth starts fewer; how much faster it is on a smaller GPU was not measured. On another CPU compiling takes longer or shorter. On two CPU cores Unsloth is
# the faster one as well:

# %% tags=["nbval-ignore-output"]
curves = pandas.DataFrame(runs["losses"].tolist())  # (5 ways, 30 steps)
spread = curves.max() - curves.min()
assert spread.iloc[0] < 0.01 and spread.median() < 0.05
print(f"losses apart: {spread.iloc[0]:.4f} at the first step, {spread.median():.3f} at the median")
cpu = {r["way"]: r for r in reference.load("cpu_step").results}
for way in ("Trainer + PEFT", "Unsloth"):
    print(f"on two CPU cores, {way}: {cpu[way]['median_seconds']:.1f} s a step")

# %% [markdown]
# ## 3.8 · Half precision on a T4
#
# Colab's free GPU, a T4, has no bfloat16, and the usual way out is float16. That is not the guide's claim, which names no GPU, but the reader's question. float16 ends at 65,504.
#
# **Your bet:** over ordinary Arabic and English text, what is the largest number that one layer hands to the next?

# %%
bet_largest = exercises.bet(
    "largest-activation", "largest activation between layers, in thousands",
    low=0, high=200, step=5, unit="thousand",
)

# %% [markdown]
# Four passages of each language, in float32, and the largest number after each of the 18 layers:

# %% tags=["nbval-ignore-output"]
from helpers import checkpoints, dataset
from helpers.probes import architecture

texts, tokenizer = dataset.retention(), checkpoints.load_tokenizer(checkpoint)
precise = checkpoints.load_model(checkpoint, dtype="float32", device="cpu")
batches = {}
for language in ("arabic", "english"):
    for number, text in enumerate(texts[language][:4], 1):
        batches[f"{language} {number}"] = tokenizer(text, return_tensors="pt").input_ids
largest = {}
for name, batch in batches.items():
    largest[name] = architecture.largest_activations(precise, [batch])["residual"]
tops = pandas.Series({name: max(values) for name, values in largest.items()})
past = (tops > figures.LARGEST_HALF).sum()
finding = (
    f"Over {len(tops)} passages the stream between layers reaches {tops.min():,.0f} to "
    f"{tops.max():,.0f}; passages that go past float16's 65,504: {past}."
)
plots.show(figures.activations(largest), finding)

# %% [markdown]
# In float16 such a number is infinite, and an infinity that meets a norm becomes NaN. So take the passage with the largest number and the one with the smallest, in float16:

# %%
precise = precise.half()
for name in (tops.idxmax(), tops.idxmin()):
    with torch.no_grad():
        nan = precise(input_ids=batches[name]).logits.isnan().float().mean().item()
    side = "over" if tops[name] > figures.LARGEST_HALF else "under"
    print(f"largest number {side} 65,504: {nan:.0%} of the logits are NaN")

# %% [markdown]
# All or nothing. Even positions before the large number are lost: attention gives what comes later the weight 0, and 0 times NaN is NaN. One such row in a batch is enough, and the loss of the whole step is gone. On a GPU 40 passages of each language were read in three dtypes.

# %% tags=["nbval-ignore-output"]
ranges = measured("range")
ranges["largest between layers"] = [
    float("inf") if None in r["residual"] else max(r["residual"]) for r in ranges["largest"]
]
print(ranges[["dtype", "language", "passages", "largest between layers"]].to_string(index=False))
over = ranges[ranges["dtype"] == "float32"]["largest between layers"].max()
verdict("37-fp16-on-t4", measured=over / figures.LARGEST_HALF)

# %% [markdown]
# **What Unsloth does.** It keeps a list of model families that must not be trained in plain float16:

# %%
from unsloth_zoo.model_lists import FORCE_FLOAT32

print([name for name in FORCE_FLOAT32 if "gemma3" in name.replace("_", "")])
precise = unsloth_model = model = None  # their memory is wanted below

# %% [markdown]
# On a GPU without bfloat16, Unsloth 2026.10.9 gives these families a *mixture*, whatever dtype is asked for: the frozen weights and their matrix
# products stay in float16, where a T4 has fast units for them; the norms, the LoRA factors and the stream between layers, the one that overflows, are
# float32. The mixture is made by replacing Gemma 3's classes for the whole process. A plain float32 model in the same process then stops with
# *expected m1 and m2 to have the same dtype*. A test of the course loads a small Gemma 3 both ways and sees both (`tests/helpers/test_training.py`).
#
# **What this course does on a T4.** It asks for float32 and takes Gemma 3 off that list while it loads. Unsloth then trains as it was asked to, in float32
# throughout, and says so. Three reasons. Notebook 04 holds plain models beside the trained one, and both must run. What a T4 measures is then
# what two cores measure. And the price can be paid: of a T4's 14.7 GiB the weights take 1.07 GB instead of 0.54.
# What it costs in time is not known, because no T4 was at hand: a T4's float16 units are rated eight times as fast as its float32 ones (NVIDIA's T4 data
# sheet: 65 and 8.1 TFLOPS), and how much of that the mixture would win here was not measured. For a model of your own that is trained alone
# Unsloth's mixture may well be the better choice. `fp16=True` in a trainer of your own, without Unsloth, is the wrong one: it puts the stream into float16 as well.

# %% [markdown]
# ## 3.9 · Does loading in 4 bits help here?
#
# "If you use 4-bit", says the guide, and not why one would; its section 5 even warns of 4 bits for a model so small, in the exported file. Readers do it so that a model fits. So this question is ours as well.
#
# **Your bet:** bfloat16 takes 16 bits a weight, NF4 a little over 4. After a 4-bit load of this model, how many percent of its bytes are left?

# %%
bet_left = exercises.bet(
    "bytes-left", "of the bytes are left after a 4-bit load", low=20, high=100, step=2, unit="%"
)

# %% [markdown]
# Load the real model twice, through transformers and bitsandbytes, on the processor: it takes seconds. One thing first. A CPU with AVX512-BF16 repacks every weight at the first forward pass, which rounds the scales to bfloat16. `load_4bit` switches that off, as Unsloth does, so that all machines measure the same.
#
# `get_memory_footprint` will not do for weighing: it counts parameters and buffers, and the scales of 4-bit weights are neither. So weigh every part.

# %% tags=["nbval-ignore-output"]
from helpers.probes import quantization

base = checkpoints.ensure("gemma")  # the packaged base on every machine: 3.11 knows its grid
full = checkpoints.load_model(base, dtype="bfloat16", device="cpu").requires_grad_(False)
nf4 = quantization.load_4bit(base, double=False).requires_grad_(False)
linears = {n: m for n, m in full.named_modules() if isinstance(m, torch.nn.Linear)}
del linears["lm_head"]  # the embedding once more
linear_bytes = sum(2 * m.weight.numel() for m in linears.values())


def weigh(model):
    """MB of a model by part."""
    parts = {part: size / 1e6 for part, size in quantization.model_bytes(model).items()}
    if not parts["packed"]:
        parts |= {"packed": linear_bytes / 1e6, "other": parts["other"] - linear_bytes / 1e6}
    return {"embedding": parts["embedding"], "linear layers": parts["packed"], **parts}


weights = pandas.DataFrame({"bfloat16": weigh(full), "NF4": weigh(nf4)}).T.drop(columns="packed")
weights = weights[["embedding", "linear layers", "scales", "other"]]
weights.assign(total=weights.sum(axis=1)).style.format("{:.2f} MB")

# %% [markdown]
# The table as a figure, and with the share that is left:

# %%
left_first = weights.sum(axis=1) / weights.loc["bfloat16"].sum()
in_linears = weights.loc["bfloat16", "linear layers"] / weights.loc["bfloat16"].sum()
finding = (
    f"The linear layers are {in_linears:.0%} of the model's bytes, the embedding nearly all the "
    f"rest: in plain NF4 {left_first['NF4']:.0%} of the bytes are left."
)
plots.show(figures.parts(weights.T.to_dict(), "MB"), finding)

# %% [markdown]
# **Why so little?** bitsandbytes quantizes linear layers. In a model of seven billion parameters they are nearly all of it. Here the embedding, which is also the output head, is the larger part, and it stays as it was. In logits, what is freed is this much:

# %%
freed = 1e6 * (weights.loc["bfloat16"].sum() - weights.loc["NF4"].sum())
tokens = freed / memory.logits_bytes(1)
print(f"freed: {freed / 1e6:.0f} MB, the float32 logits of {tokens:.0f} tokens")

# %% [markdown]
# The rest of this part takes NF4 apart (3.10, 3.11), counts what double quantization saves (3.12), and asks what the four bits cost in each language (3.13), where the card of this claim stands.

# %% [markdown]
# ## 3.10 · NF4 from nothing (deeper)
#
# Four bits name 16 numbers. Which 16? QLoRA's authors take weights to be normally distributed, and put the levels at *quantiles* of a normal distribution, so that each is used about as often as any other. Two details make it NF4.
#
# Zero must be a level. So the two sides are cut apart: seven levels below zero, eight above.
#
# The outermost level cannot be the quantile at probability 1, which is infinite. It stops a little before, at $1 - \delta$. Cut the probabilities from 0 to 1 into 16 equal cells, and the middle of the last is 1/32 from the end; cut them into 15, and it is 1/30. QLoRA's δ is the mean of these two.

# %%
import bitsandbytes.functional as bnb
from scipy.stats import norm

outermost = 1 - (1 / 32 + 1 / 30) / 2
positive = norm.ppf(torch.linspace(0.5, outermost, 9))[1:]  # 8 of them; the first of nine is 0
negative = -norm.ppf(torch.linspace(0.5, outermost, 8))[:0:-1]  # 7, ascending
levels = torch.tensor([*negative, 0.0, *positive])  # (16,)
levels = (levels / levels.max()).float()
table = bnb.get_4bit_type("nf4", device="cpu")
sides = [(levels.sign() == side).sum().item() for side in (-1, 0, 1)]
print("levels below, at and above zero:", *sides)
print("bitsandbytes' table, to 1e-6:", bool((levels - table).abs().max() < 1e-6))
print("the course's helper:", torch.equal(levels, quantization.nf4_levels()))

# %% [markdown]
# The levels reach from −1 to 1 and the weights do not. So a matrix is cut into blocks of 64 weights, each block is divided by its largest absolute value, the *scale*, and each weight becomes the number of the nearest level. We do it to a real matrix:

# %%
exact = checkpoints.load_model(base, dtype="float32", device="cpu").requires_grad_(False)
W = exact.model.layers[0].mlp.gate_proj.weight  # (2048, 640)


def quantize(x, levels, block=64):
    """Numbers of the nearest levels (x's shape) and the scales (blocks,)."""
    blocks = x.reshape(-1, block)  # (blocks, 64)
    scales = blocks.abs().amax(1)
    between = (levels[:-1] + levels[1:]) / 2  # (15,): where one cell ends and the next begins
    return torch.bucketize(blocks / scales[:, None], between).reshape(x.shape), scales


def dequantize(codes, scales, levels):
    """What the codes stand for."""
    return (levels[codes].reshape(len(scales), -1) * scales[:, None]).reshape(codes.shape)


# %% [markdown]
# And let bitsandbytes do it too, which packs two codes into a byte. There and back, the two must be equal to the bit.

# %%
codes, scales = quantize(W, table)
packed, state = bnb.quantize_4bit(W, blocksize=64, quant_type="nf4", compress_statistics=False)
pairs = (codes.flatten()[0::2] << 4 | codes.flatten()[1::2]).to(torch.uint8)
print("codes and scales:", torch.equal(pairs, packed.flatten()), torch.equal(scales, state.absmax))
back = dequantize(codes, scales, table)
print("and back:", torch.equal(back, bnb.dequantize_4bit(packed, state)))
print("the course's helper:", torch.equal(back, quantization.round_trip(W, table)))

# %% [markdown]
# ## 3.11 · Does it fit real weights? (deeper)
#
# > NF4 assumes the weights follow a normal distribution and maps them to 16 discrete levels.
#
# *Assumes* can be tested. The levels should beat an even grid of 16 on normal numbers, lose to it on uniform ones, and beat it on the weights of this model. We count in decibels of signal-to-noise ratio, $10 \log_{10}(\sum w^2 / \sum (w - \hat w)^2)$: 3 dB is half the squared error.
#
# **Your bet:** on this model's weights, how many dB is NF4 ahead of the even grid?

# %%
bet_gain = exercises.bet(
    "nf4-ahead", "dB that NF4 is ahead of an even grid on real weights",
    low=-3.0, high=6.0, step=0.25, unit="dB",
)

# %% [markdown]
# First a bias. Our base came out of a file that was [quantized][g-quantization] already, mostly to Q5_0: integers from −16 to 15, with one scale for 32 weights, set so that the largest of them becomes −16. It can be seen in the weights: divide each block of 32 by a sixteenth of its largest, and they are whole numbers.
#
# [g-quantization]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#quantization

# %% tags=["nbval-ignore-output"]
float_weights = {name: exact.get_submodule(name).weight for name in linears}
cells = {name: quantization.q5_0_cells(w) for name, w in float_weights.items()}
on_grid = {name: c for name, c in cells.items() if c is not None}
numbers = pandas.Series({name: w.numel() for name, w in float_weights.items()})
share = numbers[list(on_grid)].sum() / numbers.sum()
steps = W.flatten()[:32] / (W.flatten()[:32].abs().max() / 16)
print("weights of the first row:", [round(v, 1) for v in steps[:12].tolist()], "…")
print(f"on the grid of Q5_0: {len(on_grid)} of {len(linears)} matrices, {share:.0%} of the weights")

# %% [markdown]
# Whole multiples of one number are not what NF4 meets in a model that was never quantized. So each weight is moved, at random, within the cell it was rounded into (*dithered*): that is where it came from, as far as anyone can tell. Both versions are measured, so that the bias is seen.
#
# On the left the weights of the matrix, divided by their block's scale; on the right how often each level is used.

# %% tags=["nbval-ignore-output"]
import numpy as np

grids = {"NF4": table, "even grid": quantization.uniform_levels()}
off_grid = quantization.dithered(W, on_grid["model.layers.0.mlp.gate_proj"], seed=0)
used, inside_scale = {}, {}
for name, grid in grids.items():
    used[name] = np.bincount(quantize(off_grid, grid)[0].flatten(), minlength=16) / W.numel()
for name, x in {"as packaged": W, "dithered": off_grid}.items():
    blocks = x.reshape(-1, 64)
    inside_scale[name] = (blocks / blocks.abs().amax(1, keepdim=True)).flatten().numpy()
finding = (
    "As packaged the weights are a comb, dithered a bell. NF4's busiest level takes "
    f"{used['NF4'].max():.0%} of them, the even grid's {used['even grid'].max():.0%}; equal shares "
    f"would be {1 / 16:.0%}."
)
plots.show(figures.comb_and_bell(inside_scale, used, grids), finding)

# %% [markdown]
# The synthetic numbers are a control. On normal ones NF4 should win, since it was made for them; on uniform ones the even grid should. If either failed, the fault would be in our code and not in the weights.
#
# Now four kinds of numbers and two grids, NF4 and 16 even steps from −1 to 1. An interval is over 24 draws for the synthetic ones, and for the real ones over the 81 matrices that lie on the old grid, whose dither is averaged over three seeds. The other 45 are not judged here.

# %% tags=["nbval-ignore-output"]
from tqdm import tqdm


def both(x):
    """SNR in dB with NF4 and with the even grid: (2,)."""
    trips = [quantization.round_trip(x, grid) for grid in grids.values()]
    return np.array([quantization.snr(x, trip) for trip in trips])


def random(seed, kind):
    """Numbers of a kind: (262144,)."""
    draw = torch.Generator().manual_seed(seed)
    if kind == "normal":
        return torch.randn(2**18, generator=draw)
    return 2 * torch.rand(2**18, generator=draw) - 1


ratios = {}
for kind in ("normal", "uniform"):
    ratios[kind] = np.array([both(random(seed, kind)) for seed in range(24)])
packaged, moved = [], []
for name, c in tqdm(on_grid.items(), desc="quantizing", unit="matrix", file=sys.stdout):
    weight = float_weights[name]
    packaged.append(both(weight))
    draws = [both(quantization.dithered(weight, c, seed)) for seed in range(3)]
    moved.append(np.mean(draws, axis=0))
ratios["real, as packaged"], ratios["real, dithered"] = np.array(packaged), np.array(moved)

# %% [markdown]
# A point is a mean with its interval, narrower than the mark for the synthetic numbers.

# %% tags=["nbval-ignore-output"]
from scipy.stats import bootstrap


def interval(values):
    """(mean, low, high): 95 %, percentile bootstrap over the first axis."""
    found = bootstrap((values,), np.mean, method="percentile", n_resamples=2000, rng=0)
    return float(np.mean(values)), *map(float, found.confidence_interval)


found = {}
for column, grid in enumerate(grids):
    found[grid] = {kind: interval(each[:, column]) for kind, each in ratios.items()}
ahead = {kind: interval(each[:, 0] - each[:, 1]) for kind, each in ratios.items()}
told = ", ".join(f"{kind} {mean:+.2f} dB" for kind, (mean, _, _) in ahead.items())
figure = figures.intervals(found, "signal-to-noise ratio, dB (more is better)")
plots.show(figure, f"NF4 minus the even grid: {told}.")

# %% [markdown]
# The old grid flatters NF4, as feared. The verdict is about the dithered weights.

# %% tags=["nbval-ignore-output"]
assert ahead["normal"][1] > 0 > ahead["uniform"][2]
assert ahead["real, as packaged"][1] > ahead["real, dithered"][2]
mean, low, high = ahead["real, dithered"]
synthetic = {kind: ahead[kind][0] for kind in ("normal", "uniform")}
verdict("19-nf4-sixteen-levels", measured=mean, low=low, high=high, **synthetic)

# %% [markdown]
# **Why more on real weights than on normal ones?** Perhaps because their tails are heavier: a few large weights stretch a block's scale, and the rest huddle near zero, where NF4 has its levels. That can be looked at. And *made for* is not *best for*: quantiles aim at the same share
# of the weights for each level, which is not the same as the least squared error (and once each block is divided by its own largest weight they miss it, as the figure above shows). So levels are fitted to normal blocks, by Lloyd's iterations, and judged on other draws.

# %% tags=["nbval-ignore-output"]
def reach(x):
    """Largest of a block over its root mean square, averaged over blocks of 64."""
    blocks = x.reshape(-1, 64)
    return float((blocks.abs().amax(1) / blocks.square().mean(1).sqrt()).mean())


real = [reach(quantization.dithered(float_weights[name], c, 0)) for name, c in on_grid.items()]
print("largest weight of 64, in root mean squares:")
told = "{:.2f} [{:.2f}, {:.2f}]".format(*interval(real))
print(f"  normal {reach(random(0, 'normal')):.2f}, real {told}")
others = torch.cat([random(seed, "normal") for seed in range(100, 104)])
fitted = quantization.fitted_levels(others)
draws = [random(seed, "normal") for seed in range(24)]
gain = [quantization.snr(x, quantization.round_trip(x, fitted)) for x in draws]
told = "{:+.2f} dB [{:.2f}, {:.2f}]".format(*interval(gain - ratios["normal"][:, 0]))
print(f"fitted levels over NF4 on normal numbers: {told}")
print("a fitted level at 0:", bool((fitted == 0).any()))

# %% [markdown]
# Fitted levels give up two things that NF4 keeps: an exact zero, and the block's largest weight.

# %% [markdown]
# ## 3.12 · What does double quantization really save? (deeper)
#
# > quantizing the quantization constants themselves, saving an extra 0.5 bits per parameter
#
# Each block of 64 weights carries a scale of 32 bits. Before counting bytes, count on your fingers: what do the scales cost a weight?
#
# **Your bet:** how many bits per weight does double quantization save?

# %%
bet_saving = exercises.bet(
    "dq-saving", "bits per weight that double quantization saves",
    low=0.0, high=0.6, step=0.025, unit="bits",
)

# %% [markdown]
# Note what is not in question. The sixteen levels stay, and so do the blocks of 64. Only the way in which their scales are stored changes.
#
# We ask the library that does it. `quantize_4bit` returns a `QuantState` with all that is needed to undo it. Its tensors are the overhead, and tensors can be weighed.

# %%
nf4_of = {"blocksize": 64, "quant_type": "nf4"}
_, plain = bnb.quantize_4bit(W, compress_statistics=False, **nf4_of)
_, double = bnb.quantize_4bit(W, compress_statistics=True, **nf4_of)
second = double.state2
print(f"plain:  {len(plain.absmax):,} scales of {plain.absmax.dtype}")
print(f"double: {len(double.absmax):,} scales of {double.absmax.dtype},")
print(f"        {len(second.absmax)} of {second.absmax.dtype}, one for {second.blocksize} scales")
parts = {"plain": quantization.state_bytes(plain), "double": quantization.state_bytes(double)}
print("bytes:", parts)

# %% [markdown]
# So the scales, once their mean is taken off, are quantized themselves: to 8 bits, in blocks of 256.
#
# $$ \frac{32}{64} - \left(\frac{8}{64} + \frac{32}{64 \cdot 256}\right) = 0.5 - 0.127 = 0.373 \text{ bits.} $$
#
# Byte by byte, what stands on top of the four bits:

# %%
bits = pandas.DataFrame(parts) * 8 / W.numel()  # (kind, way)
scale_bits = bits.loc["scales"] + bits.loc["second level"]
saved = scale_bits["plain"] - scale_bits["double"]
assert abs(saved - 0.373) < 1e-3  # the formula's
finding = (
    f"The scales cost {scale_bits['plain']:.3f} bits a weight, doubly quantized "
    f"{scale_bits['double']:.3f}: {saved:.3f} are saved."
)
figure = figures.parts(bits.to_dict(), "bits per weight on top of the 4", reference=0.5)
plots.show(figure, finding)

# %%
verdict("20-double-quantization", measured=round(saved, 4), **(4 + scale_bits))

# %% [markdown]
# **Why not 0.5?** To save half a bit, the scales would have to become free. Three quarters of it is what 8-bit scales save. One thing more is kept: a lookup table of 1 KiB for the second level (*tables* in the figure), which in this library belongs to each matrix.
#
# What is the price in accuracy?

# %% tags=["nbval-ignore-output"]
for way, on in {"plain": False, "double": True}.items():
    again = bnb.dequantize_4bit(*bnb.quantize_4bit(W, compress_statistics=on, **nf4_of))
    print(f"{way:<7}{quantization.snr(W, again):.3f} dB")

# %% [markdown]
# A hundredth of a decibel. Double quantization is close to free; it is only smaller than said.

# %% [markdown]
# ## 3.13 · What four bits cost, in two languages (deeper)
#
# Bytes are one side of a 4-bit load. The other is how far the 4-bit model's next-token distribution is from that of the model as it was: their KL divergence in nats, over the whole vocabulary, at every token of half of the 40 English and 40 Arabic passages of `retention.yaml`.
#
# Both are computed in float32. What we are after is the rounding of the weights, and a processor without AVX-512 takes about five times as long in bfloat16. What bfloat16 rounds by itself is measured as a control.

# %%
tokenizer = checkpoints.load_tokenizer(base)
passages = {}
for language in ("english", "arabic"):
    passages[language] = []
    for text in texts[language]:
        made = tokenizer("<bos>" + text, add_special_tokens=False, return_tensors="pt")
        passages[language].append(made.input_ids)


def logits(model, ids):
    """(N, V)"""
    with torch.no_grad():
        return model(ids).logits[0].float()


def kl(p_logits, q_logits):
    """KL(p ‖ q) at every position: (N,)."""
    log_p, log_q = p_logits.log_softmax(-1), q_logits.log_softmax(-1)  # (N, V)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


# %% [markdown]
# For each model and language we keep two numbers a passage: the divergence summed over its tokens, and how many tokens there are. This is one of the longer cells of the notebook; its bars say how long.

# %% tags=["nbval-ignore-output"]
def divergences(reference, others, every):
    """{name: {language: (sums, tokens)}} over every n-th passage; a number each passage."""
    found = {name: {} for name in others}
    for language, all_ids in passages.items():
        rows = {name: [] for name in others}
        for ids in tqdm(all_ids[::every], desc=language, unit="passage", file=sys.stdout):
            p = logits(reference, ids)
            for name, other in others.items():
                rows[name].append((kl(p, logits(other, ids)).sum().item(), ids.shape[1]))
        for name in others:
            found[name][language] = np.array(rows[name]).T
    return found


four_bit = {
    name: quantization.load_4bit(base, double, "float32").requires_grad_(False)
    for name, double in (("NF4", False), ("NF4, double", True))
}
shifts = divergences(exact, four_bit, every=2)
shifts |= divergences(exact, {"bfloat16 (control)": full}, every=8)

# %% [markdown]
# Two questions are left. Would *our* NF4 give the same logits? We write it into a copy of the model and compare with bitsandbytes. And what does the old grid do to these figures? The weights that lie on it are dithered in a second copy. From that copy the first one is then quantized twice, to NF4 and to the even grid.

# %% tags=["nbval-ignore-output"]
weights.loc["NF4, double"] = pandas.Series(weigh(quantization.load_4bit(base, double=True)))
copy, dithered = (
    checkpoints.load_model(base, dtype="float32", device="cpu").requires_grad_(False)
    for _ in range(2)
)


def rewritten(source, grid):
    """The copy, every linear layer of it quantized from the source's to a grid and back."""
    for name in linears:
        weight = source.get_submodule(name).weight
        copy.get_submodule(name).weight.copy_(quantization.round_trip(weight, grid))
    return copy


by_us, by_bnb = (
    logits(one, passages["arabic"][0]) for one in (rewritten(exact, table), four_bit["NF4"])
)
apart = (by_us - by_bnb).abs().max().item()
print("largest difference between our model's logits and bitsandbytes':", apart)
assert apart < 0.5  # exactly 0 where the matrix products are the same
for name, c in on_grid.items():
    off_grid = quantization.dithered(float_weights[name], c, seed=0)
    dithered.get_submodule(name).weight.copy_(off_grid)
for label, grid in (("NF4, dithered", table), ("even grid, dithered", grids["even grid"])):
    shifts |= divergences(dithered, {label: rewritten(dithered, grid)}, every=6)

# %% [markdown]
# Tokens of one passage are not independent, so for the intervals whole passages are drawn again.

# %% tags=["nbval-ignore-output"]
def per_token(sums, tokens):
    """(mean per token, low, high): 95 %, percentile bootstrap over passages."""
    settings = {"paired": True, "method": "percentile", "n_resamples": 2000, "rng": 0}
    found = bootstrap((sums, tokens), lambda s, n, axis: s.sum(axis) / n.sum(axis), **settings)
    return float(sums.sum() / tokens.sum()), *map(float, found.confidence_interval)


distance, points = {}, {}
for language in passages:
    distance[language] = {name: per_token(*own[language]) for name, own in shifts.items()}
    points[language] = {name: own[language][0] / own[language][1] for name, own in shifts.items()}
arabic, english = (distance[language]["NF4"][0] for language in ("arabic", "english"))
times = arabic / english
finding = (
    f"NF4 moves Arabic {times:.1f} times as far as English: {arabic:.2f} against {english:.2f} "
    "nats a token."
)
label = "KL in nats per token (faint: one passage each)"
plots.show(figures.intervals(distance, label, log=True, points=points), finding)

# %% [markdown]
# The same as ratios, paired by passage. With another model's sums in the place of the tokens, `per_token` gives a ratio of the two.

# %% tags=["nbval-ignore-output"]
compared = {
    "double / plain": ("NF4, double", "NF4", 1),
    "dithered / as packaged": ("NF4, dithered", "NF4", 3),
    "even grid / NF4": ("even grid, dithered", "NF4, dithered", 1),
}
shown = {language: {} for language in passages}
for name, (above, below, every) in compared.items():
    for language, column in shown.items():
        found = per_token(shifts[above][language][0], shifts[below][language][0][::every])
        column[name] = "{:.3f} [{:.3f}, {:.3f}]".format(*found)
pandas.DataFrame(shown)

# %% [markdown]
# On the even grid the model moves about twice as far as on NF4, more than the little more than a decibel of section 3.11 (a third more squared error) would suggest. Here every one of the 126 matrices is quantized; there 81 were measured. Why it is so much was not traced. Double quantization adds about a hundredth. In English the old grid flatters NF4, so *NF4* and *NF4, double* stand too low in the figure; in Arabic seven passages cannot tell.
#
# Arabic moves further than English with the old grid and without. The verdict is about the bytes; this was their price.

# %% tags=["nbval-ignore-output"]
for name in ("NF4", "NF4, dithered"):
    assert distance["arabic"][name][1] > distance["english"][name][2]
left_after = weights.sum(axis=1) / weights.loc["bfloat16"].sum()
noise = 10 ** (-ratios["real, dithered"][:, 0].mean() / 20)
print(f"noise in the quantized weights: {noise:.1%} of their size")
verdict("21-four-bit-helps", measured=float(left_after["NF4, double"]), times=times)

# %% [markdown]
# **What it cannot conclude.** KL on plain passages says how far the base model moves, not how many calls a fine-tuned one gets right: an adapter trained on 4-bit weights can learn to make up for them. The passages of the two languages are not translations of each other. On a GPU other kernels run, and speed was not measured.

# %% [markdown]
# ## 3.14 · Does Unsloth use double quantization? (deeper)
#
# > Unsloth then uses **Double Quantization**, quantizing the quantization constants themselves
#
# **Your bet:** of this model's quantized matrices, how many have scales that are quantized themselves?

# %%
bet_nested = exercises.bet(
    "nested", "quantized matrices with nested scales", options=["none", "some", "all"]
)

# %% [markdown]
# We load the model as a reader of the guide would, with `load_in_4bit=True` and nothing else, and read the configuration that Unsloth built. A flag is only a wish, so we also count the weights whose scales really are nested.

# %%
from unsloth import FastModel

from helpers import environment

full = exact = copy = dithered = nf4 = four_bit = None
with environment.quiet():
    unsloths, _ = FastModel.from_pretrained(base.path, max_seq_length=512, load_in_4bit=True)
asked = unsloths.config.quantization_config
quantized = quantization.linears(unsloths)
nested = sum(m.weight.quant_state.nested for m in quantized.values())
print(f"{asked.bnb_4bit_quant_type}, bnb_4bit_use_double_quant {asked.bnb_4bit_use_double_quant}")
print(f"{nested} of {len(quantized)} weights have nested scales")

# %% [markdown]
# On a CPU this ran Unsloth's CPU loader; a GPU takes another path through its code. So we also read the source, and list every 4-bit configuration that its loaders construct.

# %%
import ast
import importlib.util


def double_flags(package, file):
    """bnb_4bit_use_double_quant of every 4-bit configuration that a source file constructs."""
    folder = importlib.util.find_spec(package).submodule_search_locations[0]
    nodes = ast.walk(ast.parse((pathlib.Path(folder) / file).read_text(encoding="utf-8")))
    found = []
    for call in (node for node in nodes if isinstance(node, ast.Call)):
        if getattr(call.func, "id", "") != "BitsAndBytesConfig":
            continue
        given = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
        if given.get("load_in_4bit"):
            found.append(given.get("bnb_4bit_use_double_quant", False))
    return found


files = {"cpu/loader.py": "unsloth_zoo"}
files |= dict.fromkeys(("models/llama.py", "models/vision.py"), "unsloth")
constructed = {file: double_flags(package, file) for file, package in files.items()}
assert all(flags and all(flags) for flags in constructed.values())
print(constructed)

# %% [markdown]
# All of them set it. What does it save in this model?

# %%
scales_freed = weights.loc["NF4", "scales"] - weights.loc["NF4, double", "scales"]
print(f"{scales_freed:.1f} MB of {weights.loc['bfloat16'].sum():.0f} MB")
configured = asked.bnb_4bit_use_double_quant
verdict("41-uses-double-quantization", measured=(configured, nested, len(quantized)))

# %% [markdown]
# **So the guide is right that it is used**, and wrong about what it saves: three quarters of the half bit that it says, and only for the weights in linear layers.

# %% [markdown]
# ## 3.15 · Exercises
#
# Predict first, each time. When your function is right, its cell tries it on this notebook's model, and you see how good the prediction was.

# %% [markdown]
# <!-- exercise 3.1 -->
# **Exercise 3.1 · The batch that fits** (★★☆, 10 minutes)
#
# `peak(rows)` takes a training step with so many rows and returns the bytes at its peak. Write
# `largest_batch(peak, budget)`: the most rows whose step fits into `budget` bytes.
#
# A step costs seconds, so call `peak` three times at most: predict the rest. The cell then lets your function loose on
# this notebook's model and takes two more steps, with the rows that you found and with one more.
#
# <details><summary>Hint 1</summary>
#
# A step holds something before the first row (weights, adapters, optimizer), and then the same amount for each row.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Two steps tell both numbers. What one row adds is `peak(2) - peak(1)`.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# What is there before the first row is `peak(1)` without that row's share. Divide what the budget leaves, and round down.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def largest_batch(peak, budget):
#     one, two = peak(1), peak(2)
#     row = two - one
#     return int((budget - (one - row)) // row)
# ```
#
# </details>

# %%
def largest_batch(peak, budget):
    ...


exercises.check("3.1", largest_batch)
if exercises.solved("3.1", largest_batch):
    rows = largest_batch(lambda n: ghost_step(rows=n).peak.total, T4)
    for n in (rows, rows + 1):
        size = ghost_step(rows=n).peak.total
        print(f"{n} rows: {size / 2**30:.2f} GiB, {'fits' if size <= T4 else 'does not fit'}")

# %% [markdown]
# <!-- exercise 3.2 -->
# **Exercise 3.2 · Repair a loss** (★★☆, 15 minutes)
#
# This loss is right and wasteful: it makes logits at every position and then ignores most of them.
#
# ```python
# def wasteful_loss(model, ids, labels):  # (B, N) both; -100 where there is no label
#     hidden = model.model(input_ids=ids).last_hidden_state  # (B, N, 640)
#     logits = model.lm_head(hidden).float()[:, :-1]  # (B, N - 1, 262144)
#     wanted = labels[:, 1:]  # each position is judged by the token after it
#     return torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
# ```
#
# Write `frugal_loss(model, ids, labels)` with the same value, whose head sees the positions that are judged by a label
# and no others. The cell then compares both on the real model: the value, and the bytes that autograd keeps. Predict
# first: with 16 labels in 256 tokens, what becomes of the bytes?
#
# <details><summary>Hint 1</summary>
#
# Choose before the head, not after it.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `kept = labels[:, 1:] != -100` is (B, N - 1); `hidden[:, :-1][kept]` is (labels, 640).
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The labels have to be chosen with the same `kept`, after the shift.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# import torch
#
#
# def frugal_loss(model, ids, labels):
#     hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
#     wanted = labels[:, 1:]
#     kept = wanted != -100
#     logits = model.lm_head(hidden[kept]).float()
#     return torch.nn.functional.cross_entropy(logits, wanted[kept])
# ```
#
# </details>

# %%
def frugal_loss(model, ids, labels):
    ...


exercises.check("3.2", frugal_loss)
if exercises.solved("3.2", frugal_loss):
    model = checkpointing.adapted(checkpoint, device="cpu")
    causal, labels = checkpoints.without_adapter(model), ids.clone()
    labels[:, :-16] = -100
    with memory.saved(model) as wasteful:
        print("wasteful", model(input_ids=ids, labels=labels).loss.item())
    with memory.saved(model) as frugal:
        print("frugal  ", frugal_loss(causal, ids, labels).item())
    print(f"MiB saved: {wasteful.bytes() / 2**20:.0f} → {frugal.bytes() / 2**20:.0f}")
    model = causal = None

# %% [markdown]
# <!-- exercise 3.3 -->
# **Exercise 3.3 · Other blocks** (★☆☆, 10 minutes)
#
# Section 3.12 counted for blocks of 64. Write `saved_bits(block, second_block)`: the bits per weight that double
# quantization saves when `block` weights share a scale and `second_block` scales share a scale of their own.
#
# Predict first: with larger blocks, is more saved or less? The cell then quantizes a matrix of the model with blocks of
# 64, 128, 256 and 512, and puts the weighed bytes beside your formula.
#
# <details><summary>Hint 1</summary>
#
# Without double quantization: a 32-bit scale for each block.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# With it: an 8-bit scale for each block, and a 32-bit one for `block * second_block` weights.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def saved_bits(block, second_block):
#     plain = 32 / block
#     double = 8 / block + 32 / (block * second_block)
#     return plain - double
# ```
#
# </details>

# %%
def saved_bits(block, second_block):
    ...


exercises.check("3.3", saved_bits)
if "W" in globals() and exercises.solved("3.3", saved_bits):  # W and bnb are section 3.10's
    for block in (64, 128, 256, 512):
        taken = []
        for on in (False, True):
            again = {"blocksize": block, "quant_type": "nf4", "compress_statistics": on}
            own = quantization.state_bytes(bnb.quantize_4bit(W, **again)[1])
            taken.append(8 * (own["scales"] + own["second level"]) / W.numel())
        yours, weighed = saved_bits(block, 256), taken[0] - taken[1]
        print(f"blocks of {block}: by you {yours:.4f}, weighed {weighed:.4f}")

# %% [markdown]
# <!-- exercise 3.4 -->
# **Exercise 3.4 · How often to checkpoint** (★★★, 10 minutes)
#
# Keep the input of every k-th layer only. Then ⌈layers / k⌉ inputs stay, `kept` bytes each, and to get the gradients of
# one segment, its k layers are run again, and all that they make, `inside` bytes each, is there at once.
#
# Write `best_every(layers, kept, inside)`: the k from 1 to `layers` with the least memory in all. Chen et al. come to
# √layers. Predict first: is it 4 here? The cell answers for the bytes that you measured in section 3.3.
#
# <details><summary>Hint 1</summary>
#
# There are only `layers` candidates; try them all.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The last segment may be shorter, and its input stays as well. `-(-layers // k)` rounds up.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def best_every(layers, kept, inside):
#     def memory(k):
#         return -(-layers // k) * kept + k * inside
#
#     return min(range(1, layers + 1), key=memory)
# ```
#
# </details>

# %%
def best_every(layers, kept, inside):
    ...


exercises.check("3.4", best_every)
if exercises.solved("3.4", best_every):
    print(f"this model, {inside:,.0f} bytes in a layer: k = {best_every(18, 1280, inside)}")
    print(f"if a layer kept no more than its input: k = {best_every(18, 1280, 1280)}")

# %% [markdown]
# ## 3.16 · What to do now
#
# What fits on a T4? The ghost once more, plain transformers with eager attention, now in float32 as this course trains there (3.8), with rows of 640 tokens of which 64 carry labels. Memory is a straight line in the rows, so two steps tell it. A tenth of the T4 is left to CUDA and to what an allocator loses between blocks. How much longer a step takes is the
# ratio of 3.4, of one row on an H200. With the four rows of 3.7 the same cure made a step 2.4 times as long there. A T4 was not measured. What four bits cost in time was not measured.

# %% tags=["nbval-ignore-output"]
ghost = checkpointing.adapted(checkpoint, dtype="float32", device="meta")
optimizer = torch.optim.AdamW([p for p in ghost.parameters() if p.requires_grad])
ghost_step(rows=1, tokens=8)
in_4_bits = 1e6 * weights.loc["NF4", ["linear layers", "scales"]].sum()
fits = {}
for name, mode, way in (
    ("nothing", "none", "full"),
    ("checkpointing", "layer", "full"),
    ("logits at labels", "none", "response"),
    ("both", "layer", "response"),
):
    two, four = (ghost_step(mode, way, rows=n, tokens=640).peak.total for n in (2, 4))
    row = (four - two) / 2
    fits[name] = (two - 2 * row, row, slower if mode == "layer" else 1.0)
fixed, row, _ = fits["both"]
fits["both, in 4 bits"] = (fixed - 2 * linear_bytes + in_4_bits, row, float("nan"))
on_t4 = pandas.DataFrame(fits, index=["fixed", "row", "time a step, ×"]).T
on_t4["rows that fit"] = (0.9 * T4 - on_t4["fixed"]) // on_t4["row"]
on_t4.insert(0, "before the first row, GiB", on_t4.pop("fixed") / 2**30)
on_t4.insert(1, "a row, MiB", on_t4.pop("row") / 2**20)
whole = dict.fromkeys(("a row, MiB", "rows that fit"), "{:.0f}")
on_t4.style.format(whole, precision=1, na_rep="not measured")

# %% [markdown]
# Checkpointing and logits at the labels are the large cures, and the last line shows how little four bits add for this model. So try the cures in the order in which the course's recipe names them: `training.Recipe(label_logits_only=…, batch_size=…, accumulation=…, gradient_checkpointing=…, load_in_4bit=…)`.
#
# | your goal | checkpointing | batch | 4-bit | logits |
# |---|---|---|---|---|
# | a step that is fast | off | the largest that fits | no | at the labels |
# | it runs out of memory | off, as long as logits and batch suffice | the same; then halve it and accumulate | no | **at the labels**, first of all |
# | a batch larger than that | every layer | the largest that fits | no | at the labels |
# | every token carries a label | off, then every layer | halve it and accumulate | no | in chunks; Unsloth's own loss does so |
# | rows of several thousand tokens | every layer, with SDPA and never eager | 1 or 2, and accumulate | no | at the labels |
# | a model of billions of parameters | every layer, `"unsloth"` if inputs are above 2 MiB | 1 to 4, and accumulate | NF4, double | at the labels |
# | Arabic as good as it can be | as above | as above | no: it moves the base further in Arabic (3.13; calls were not tested) | as above |
#
# For the dtype on a T4 there is one rule: never plain float16 (3.8). Next: [04 · Masked training run](04_masked_training_run.ipynb), which trains with these settings.

# %% [markdown]
# ## 3.17 · Recap
#
# Your bets beside what was measured.

# %% tags=["nbval-ignore-output"]
exercises.recap({
    "logits-share": 100 * logits_share,
    "inputs-kept": len(inputs),
    "projection-calls": per_layer,
    "growth": grown["eager, layer"],
    "offload-tokens": lambda: offloaded,
    "handwritten-kernels": lambda: next(n for n, most in counts_of.items() if by_hand <= most),
    "largest-activation": over / 1000,
    "bytes-left": lambda: float(100 * left_after["NF4, double"]),
    "nf4-ahead": lambda: ahead["real, dithered"][0],
    "dq-saving": lambda: saved,
    "nested": lambda: "all" if nested == len(quantized) else "some" if nested else "none",
})

# %% [markdown]
# **What this notebook cannot tell.** Times and peaks are those of one kind of GPU, a large one, and of single runs; which way is fastest on a T4 was not measured. The ledger counts tensors, so what an allocator loses between blocks does not appear in it.
#
# **Quiz 1.** A step with plain PyTorch runs out of memory at 2,048 tokens. Labels are on the last 60. What helps most, at no cost in time?
#
# <details><summary>A · Checkpointing at every layer.</summary>
#
# It helps, but each layer then runs twice, and the logits, the larger part here, stay.
#
# </details>
# <details><summary>B · Logits at the labels only.</summary>
#
# Yes. Logits of 2,048 positions are 2 GiB in float32, and the loss holds them three times; 60 of them are 60 MiB.
#
# </details>
# <details><summary>C · Loading the model in 4 bits.</summary>
#
# The linear layers take 200 MB in bfloat16. All that could be saved there is less than a tenth of the logits.
#
# </details>
#
# **Quiz 2.** You double the sequence length. With checkpointing at every layer and eager attention, memory grows by much more than a factor of two. Why?
#
# <details><summary>A · Checkpointing is not on: it makes memory linear.</summary>
#
# It divides what the layers keep. It does not change what one layer needs while it runs.
#
# </details>
# <details><summary>B · The layer inputs grow with N².</summary>
#
# They grow with N: 1,280 bytes a token and layer.
#
# </details>
# <details><summary>C · The layer that is being run again makes its N × N scores.</summary>
#
# Yes. One layer's are enough. SDPA or FlashAttention never makes them.
#
# </details>
#
# **Quiz 3.** A model of seven billion parameters is loaded with NF4 and double quantization. About how much does double quantization save?
#
# <details><summary>A · 0.44 GB: half a bit for each parameter.</summary>
#
# Half a bit is what the scales cost without it. They do not become free.
#
# </details>
# <details><summary>B · 0.33 GB.</summary>
#
# Yes: 0.373 bits times seven billion, divided by eight. There, nearly all parameters are in linear layers.
#
# </details>
# <details><summary>C · Nothing that matters, as in this notebook.</summary>
#
# Here it is a few megabytes, since the model is small and most of it is an embedding. It grows with the linear layers.
#
# </details>
#
# **To read:** *Training Deep Nets with Sublinear Memory Cost* (arXiv 1604.06174); *FlashAttention* (arXiv 2205.14135); *QLoRA* (arXiv 2305.14314); *Cut Your Losses in Large-Vocabulary Language Models* (arXiv 2411.09009).
#
# The weights are provided under and subject to the [Gemma Terms of Use](https://ai.google.dev/gemma/terms).
