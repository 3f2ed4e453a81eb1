# %% [markdown]
# # 01 · Architecture probes: the model taken apart, number by number
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/arabic-functiongemma-course/blob/main/notebooks/01_architecture_probes.ipynb)
#
# **After this notebook you can** rebuild Gemma 3's [attention](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#attention) and norm from its weights, say what its [cache](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#kv-cache) costs and why, show where its
# parameters are, and follow one Arabic prompt through all 18 layers.
#
# **You need** linear algebra and notebook 00. **Time**: 3 minutes on two CPU cores. **Memory**: 4 GB. A CPU will do: it runs on the processor, with or without a GPU. Minutes on Colab's have not been measured.
#
# It follows section 1 of the guide and settles claims 1-7 and 40.
# Terms are explained in the course's [glossary](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md), in English and Arabic.

# %%
# The modules measured here are transformers' own: with a GPU in sight Unsloth replaces some of them (the norm, the loss) as it is imported.
import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""

# %% tags=["nbval-ignore-output"]
# @title Setup: find the course or fetch it, install what is missing, show what we run on
REPOSITORY = "https://github.com/OWNER/arabic-functiongemma-course"  # @param {type: "string"}
import importlib, itertools, os, pathlib, subprocess, sys, tempfile, zipfile

HERE, MARK, told = pathlib.Path.cwd(), "helpers/setup.py", []
PLACES = [HERE, pathlib.Path("/content/drive/MyDrive"), *pathlib.Path("/kaggle/input").glob("*")]


def find():  # the folder that holds the package: above us, below one of the places, or installed
    deep = (f.parents[1] for n in range(3) for p in PLACES for f in p.glob("*/" * n + f"src/{MARK}"))
    places = itertools.chain((p / "src" for p in HERE.parents), deep, map(pathlib.Path, sys.path))
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
# ## 1.1 · Where the parameters are
#
# > Its efficiency comes from a compact parameter count
#
# says the guide, and gives no breakdown. **Your bet:** which share of its parameters is the vocabulary's table?

# %%
from helpers import exercises

bet_share = exercises.bet("embedding-share", "share of the parameters that is the embedding", low=0, high=100, step=5, unit="%")

# %% [markdown]
# We load the model in float32, because further down we compare to a ten-thousandth, and count.

# %%
from helpers import checkpoints
from helpers.probes import architecture

tokenizer = checkpoints.load_tokenizer(checkpoint)
model = checkpoints.load_model(checkpoint, dtype="float32").requires_grad_(False)
config = model.config
budget = architecture.parameter_budget(model)
for part, count in budget.items():
    print(f"{part:<10} {count:>12,}  {count / sum(budget.values()):6.1%}")

# %%
from helpers.claims import verdict

verdict("04-compact", measured=budget["embedding"] / sum(budget.values()))

# %% [markdown]
# Two thirds of this model is a dictionary: 262,144 rows of 640 numbers, used twice, to read and (as `lm_head`) to write. What does Arabic get
# for it? *[Fertility](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#fertility)* is the number of tokens a word is cut into; fewer is cheaper, in time, memory and money.

# %%
from helpers import dataset

english = [call["query"] for call in dataset.retention()["calls"]]
test_rows = dataset.load("test")
requests = {d: dataset.of_dialect(test_rows, d)["query"] for d in dataset.DIALECTS} | {"english": english}

# %% [markdown]
# The requests ask for the same tools in every language, in other words. So this compares how people would ask, not translations.

# %%
def fertility(texts):
    """Tokens per word, and a bootstrap 95 % interval over texts."""
    from scipy.stats import bootstrap

    counts = [(len(tokenizer(t, add_special_tokens=False).input_ids), len(t.split())) for t in texts]
    tokens, words = zip(*counts)
    ratio = lambda t, w, axis=-1: t.sum(axis) / w.sum(axis)
    interval = bootstrap((tokens, words), ratio, paired=True, n_resamples=500, rng=0, method="percentile").confidence_interval
    return sum(tokens) / sum(words), interval.low, interval.high


rates = {language: fertility(texts) for language, texts in requests.items()}

# %% tags=["nbval-ignore-output"]
import matplotlib.pyplot as plt

from helpers import plots

figure, axis = plt.subplots(figsize=(7.5, 2.8))
middle = [rate for rate, _, _ in rates.values()]
errors = [[r - low for r, low, _ in rates.values()], [high - r for r, _, high in rates.values()]]
axis.barh(list(rates), middle, xerr=errors, color=["#0072B2"] * 5 + ["#E69F00"], hatch=[""] * 5 + ["//"], edgecolor="white", capsize=3)
axis.set(xlabel="tokens per word")
axis.invert_yaxis()
cheapest, dearest = min(dataset.DIALECTS, key=lambda d: rates[d][0]), max(dataset.DIALECTS, key=lambda d: rates[d][0])
plots.show(figure, f"An English word takes {rates['english'][0]:.2f} tokens, an Arabic one {rates[cheapest][0]:.2f} ({cheapest}) to {rates[dearest][0]:.2f} ({dearest}).")

# %% [markdown]
# Numbers and Latin codes inside the requests count as words too. The step from English to Arabic is far larger than any step between the dialects,
# which lie close to Standard Arabic. Whiskers are [bootstrap](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#bootstrap) [95 % intervals](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#interval). What 62.6 % of the parameters buy is this: two tokens for an
# Arabic word, where a byte-level [tokenizer](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#tokenizer) would spend about ten.

# %% [markdown]
# ## 1.2 · One key head for four queries
#
# > MQA uses multiple query heads but a **single key/value head**.
#
# **Your bet:** `q_proj` makes four heads of 256, so its weight has 1,024 rows. How many has `k_proj`?

# %%
bet_keys = exercises.bet("key-rows", "rows of k_proj", options=["128", "256", "512", "1024"])

# %% [markdown]
# Nothing is easier to check: look at the shapes. `nn.Linear` stores (out, in).

# %%
attention_0 = model.model.layers[0].self_attn
shapes = (*attention_0.q_proj.weight.shape, *attention_0.k_proj.weight.shape)
print(f"q_proj {shapes[:2]}: {config.num_attention_heads} heads of {config.head_dim};  k_proj {shapes[2:]}: {config.num_key_value_heads} head")

# %%
verdict("01-mqa-single-kv-head", measured=shapes)

# %% [markdown]
# ## 1.3 · Attention by hand
#
# > $$Attention(Q_i, K, V) = \text{softmax}\left(\frac{Q_i K^T}{\sqrt{d_k}}\right)V$$
#
# That is the textbook. Let us see how far it gets. We take the real input of a layer, do each step in the open, and compare with what
# the module makes of it. A text longer than the [window](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#sliding-window) of 512 tokens shows both kinds of layers.

# %%
import torch

passages = dataset.retention()["arabic"]
ids = tokenizer("<bos>" + " ".join(passages[:24]), add_special_tokens=False, return_tensors="pt").input_ids[:, :700]
inputs = {}
hooks = [
    model.model.layers[i].self_attn.register_forward_hook(lambda m, a, kw, out, i=i: inputs.update({i: (kw["hidden_states"], out[0])}), with_kwargs=True)
    for i in (0, 5)
]
with torch.no_grad():
    true_logits = model(ids, logits_to_keep=64).logits[0]  # (64, V): the last 64 positions
for hook in hooks:
    hook.remove()
print(f"{ids.shape[1]} tokens; layer 0 is a {config.layer_types[0]} layer, layer 5 a {config.layer_types[5]} layer")

# %% [markdown]
# Step one: project, and cut into heads. Step two: what the textbook leaves out. Queries and keys are normed (*[QK-norm](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#qk-norm)*), then turned by an
# angle that grows with their position (*[RoPE](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#rope)*).

# %%
x, from_module = inputs[0]  # (1, N, 640) each
N = x.shape[1]
q = attention_0.q_proj(x).view(1, N, 4, 256).transpose(1, 2)  # (1, 4, N, 256)
k = attention_0.k_proj(x).view(1, N, 1, 256).transpose(1, 2)  # (1, 1, N, 256)
v = attention_0.v_proj(x).view(1, N, 1, 256).transpose(1, 2)  # (1, 1, N, 256)
q = architecture.rope(architecture.rms_norm(q, attention_0.q_norm.weight), theta=1e4)
k = architecture.rope(architecture.rms_norm(k, attention_0.k_norm.weight), theta=1e4)

# %% [markdown]
# Step three: scores, scaled by $1/16 = 1/\sqrt{256}$. The single key head is broadcast over the four queries. Step four: a query may
# look back 511 tokens and never ahead. Step five: softmax, mix the values, project back.

# %%
scores = q @ k.transpose(-1, -2) / 16  # (1, 4, N, N)
distance = torch.arange(N)[:, None] - torch.arange(N)[None, :]  # (N, N): query minus key
visible = (distance >= 0) & (distance < 512)
weights = scores.masked_fill(~visible, float("-inf")).softmax(-1)  # (1, 4, N, N)
by_hand = attention_0.o_proj((weights @ v).transpose(1, 2).reshape(1, N, 1024))  # (1, N, 640)


def close(ours, theirs, limit=1e-5):
    """True, or how far apart: the largest difference, relative to the largest value."""
    off = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    return off < limit or f"no, {off:.1e}"


print("off by less than 1e-5:", close(by_hand, from_module))

# %% [markdown]
# Layer 5 is global: no window, and RoPE with θ = 1,000,000. From here on we use `architecture.attention`, which does the same steps; a test
# holds it to `transformers`.

# %%
x5, from_module_5 = inputs[5]
ours_5, weights_5 = architecture.attention(model.model.layers[5].self_attn, x5, config, layer=5)
same_0, _ = architecture.attention(attention_0, x, config, layer=0)
print("layer 5 off by less than 1e-5:", close(ours_5, from_module_5))
print("inline and helper agree:", close(by_hand, same_0))

# %% [markdown]
# **Your bet:** which ingredient would the model miss most?

# %%
bet_missing = exercises.bet("attention-missing", "the ingredient missed most", options=list(architecture.INGREDIENTS))

# %% [markdown]
# We rebuild *all* layers with our attention and leave one thing out at a time. How wrong do the next-word predictions become?
# [KL divergence](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#kl-divergence) is 0 for the same predictions; top-1 says how often the likeliest next token stays the same.

# %% tags=["nbval-ignore-output"]
from tqdm import tqdm

from helpers import scoring


def damage(without):
    """(KL in nats, share of positions whose top token stays) of the model without some ingredients."""
    with torch.no_grad(), architecture.rebuilt(model, without):
        logits = model(ids, logits_to_keep=64).logits[0]
    same = logits.argmax(-1) == true_logits.argmax(-1)
    return scoring.token_kl(true_logits, logits).mean().item(), same.float().mean().item()


textbook = ("qk_norm", "rope", "causal", "window")
settings = {"all there": (), **{f"without {i}": (i,) for i in architecture.INGREDIENTS}, "the guide's formula": textbook}
damages = {name: damage(settings[name]) for name in tqdm(settings, desc="rebuilding", unit="model", file=sys.stdout)}

# %% [markdown]
# "own_theta" gives each kind of layer the other kind's θ. "The guide's formula" is the equation above and nothing else.

# %% tags=["nbval-ignore-output"]
figure, axis = plt.subplots(figsize=(7.5, 3))
names = list(damages)[1:]
axis.barh(names, [damages[n][0] for n in names], color=["#0072B2"] * 6 + ["#D55E00"], hatch=[""] * 6 + ["//"], edgecolor="white")
for row, name in enumerate(names):
    axis.text(damages[name][0], row, f"  top-1 {damages[name][1]:.0%}", va="center", fontsize=8)
axis.set(xlabel="KL divergence from the real model (nats)", xlim=(0, 1.2 * max(d for d, _ in damages.values())))
axis.invert_yaxis()
worst = max(architecture.INGREDIENTS, key=lambda i: damages[f"without {i}"][0])
plots.show(figure, f"With everything in place the rebuilt model is exact. {worst} is missed most; the bare formula keeps {damages[names[-1]][1]:.0%} of the top tokens.")

# %% tags=["nbval-ignore-output"]
assert damages["all there"][0] < 1e-6
apart, kept = damages["the guide's formula"]
verdict("02-attention-equation", measured=apart, kept=kept)

# %% [markdown]
# **Why.** The equation is the heart of attention, and the scale is right: $d_k$ = 256 and `query_pre_attn_scalar` agree here. But what
# tells a model *where* a word stands, and *what it may look at*, is not in it.
#
# What it may look at has a name in the guide:
#
# > Gemma-270M is a **Decoder-Only Transformer**.
#
# Then no position may depend on a later one, in any layer. We replace the last hundred tokens by others, keep all before them, and see what moves.

# %% tags=["nbval-ignore-output"]
other_end = torch.cat([ids[:, :-100], ids[:, :100]], dim=1)
with torch.no_grad():
    moved = (model.model(ids).last_hidden_state - model.model(other_end).last_hidden_state).abs()[0].amax(-1)  # (N,)
print(f"largest change: before the replaced tokens {moved[:-100].max():g}, from there on {moved[-100:].max():.0f}")
verdict("42-decoder-only", measured=moved[:-100].max().item(), n=100, later=moved[-100:].max().item())

# %% [markdown]
# ## 1.4 · What the cache costs
#
# > This drastically reduces the KV cache size, which is critical for on-device (mobile) deployment where VRAM is a luxury.
#
# While it writes, the model keeps the keys and values of all earlier tokens. Two things make them few: one head instead of four, and the window of
# 512 tokens that most layers have.
#
# **Your bet:** which of the two divides the cache more, at 4,096 tokens?

# %%
bet_cache = exercises.bet("cache-saved", "what divides the cache more at 4,096 tokens", options=["one KV head", "the window"])

# %% [markdown]
# First: does having one KV head lose anything against four? We copy the head and see.

# %%
def with_kv_heads(heads):
    """Layer 0's attention with its one KV head repeated: (output, floats that a cache would keep)."""
    keys, values = k.repeat(1, heads, 1, 1), v.repeat(1, heads, 1, 1)  # (1, heads, N, 256)
    groups = 4 // heads  # queries that share a head
    s = q @ keys.repeat_interleave(groups, 1).transpose(-1, -2) / 16
    w = s.masked_fill(~visible, float("-inf")).softmax(-1)
    mixed = (w @ values.repeat_interleave(groups, 1)).transpose(1, 2).reshape(1, N, 1024)
    return attention_0.o_proj(mixed), keys.numel() + values.numel()


for heads, kind in ((1, "MQA"), (2, "GQA"), (4, "MHA")):
    output, kept = with_kv_heads(heads)
    print(f"{kind}: {heads} KV heads, same output {close(output, by_hand)}, cache x{kept // (2 * N * 256)}")

# %% [markdown]
# The same function, four times the memory. (A *trained* four-head model could use its heads for different things; that is what [multi-query attention](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#mqa) gives up.)
# Now weigh the real cache object at several lengths, in bfloat16 as one would serve it.

# %%
serving = checkpoints.load_model(checkpoint, dtype="bfloat16").requires_grad_(False)
measured_bytes = {}
for n in (512, 1024, 2048, 4096):
    with torch.no_grad():
        cache = serving(ids[:, :1].repeat(1, n), use_cache=True, logits_to_keep=1).past_key_values
    measured_bytes[n] = architecture.cache_bytes(cache)
    print(f"{n:>5} tokens: {measured_bytes[n]:>11,} bytes, formula {architecture.kv_bytes(n, config):>11,}")
del serving, cache

# %% [markdown]
# Transformers keeps 511 tokens in a windowed layer: the newest token is its own 512th. The formula lets us draw what we cannot run here, up to
# the 32,768 tokens that the model was made for.

# %% tags=["nbval-ignore-output"]
lengths = [2**i for i in range(8, 16)]
variants = {"4 KV heads, no window": (4, False), "1 KV head, no window": (1, False), "1 KV head and window (Gemma 3)": (1, True)}
weights_mib = 2 * sum(budget.values()) / 2**20
figure, axis = plt.subplots()
for (name, (heads, windowed)), marker in zip(variants.items(), plots.MARKERS):
    axis.plot(lengths, [architecture.kv_bytes(n, config, heads, windowed) / 2**20 for n in lengths], marker=marker, label=name)
axis.plot(list(measured_bytes), [b / 2**20 for b in measured_bytes.values()], "kx", markersize=9, label="measured")
axis.axhline(weights_mib, color="black", linestyle="--", label="the weights")
axis.set(xscale="log", yscale="log", xlabel="tokens", ylabel="MiB (bfloat16)")
axis.legend(fontsize=8)
overtakes = weights_mib * 2**20 / architecture.kv_bytes(1, config, 4, False)
plots.show(figure, f"Four full heads would outweigh the model's {weights_mib:.0f} MiB after {overtakes:,.0f} tokens; Gemma's cache stays below them to 32,768.")

# %% [markdown]
# Two savings multiply. Here is each one's share at 4,096 tokens.

# %%
heads_factor = architecture.kv_bytes(4096, config, 4) / architecture.kv_bytes(4096, config, 1)
window_factor = architecture.kv_bytes(4096, config, windowed=False) / architecture.kv_bytes(4096, config)
print(f"at 4,096 tokens: one head instead of four saves x{heads_factor:.1f}, the window saves x{window_factor:.2f}")
print(f"at 1,024 tokens the cache is {architecture.kv_bytes(1024, config) / (2 * sum(budget.values())):.1%} of the weights")

# %%
verdict("03-mqa-kv-cache", measured=heads_factor, window=window_factor)

# %% [markdown]
# **On a phone with 2 GB**, short requests never notice the cache: at a thousand tokens it is a fiftieth of the weights. It matters for long documents and
# for servers that hold many conversations at once, and there the window helps nearly as much as the single head.

# %% [markdown]
# ## 1.5 · RMSNorm
#
# > $$\bar{a}_i = \frac{a_i}{\sqrt{\frac{1}{n} \sum_{j=1}^n a_j^2 + \epsilon}} \times g_i$$
#
# For each norm the checkpoint stores one vector, $w$.
#
# **Your bet:** what is the gain $g$?

# %%
bet_gain = exercises.bet("norm-gain", "the gain g, from the stored w", options=["w", "1 + w", "exp(w)"])

# %% [markdown]
# Compare readings with a module of the model, on random input of two sizes. The third one puts ε outside the root.

# %%
norm = model.model.layers[5].input_layernorm
h = torch.randn(1, 40, 640, generator=torch.Generator().manual_seed(0))  # (1, 40, 640)
for scale in (1.0, 1e-3):
    small, w = h * scale, norm.weight
    root = (small.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()  # ε inside
    outside = small.pow(2).mean(-1, keepdim=True).sqrt() + 1e-6
    errors = [(y - norm(small)).abs().max() / norm(small).abs().max() for y in (small / root * (1 + w), small / root * w, small / outside * (1 + w))]
    print(f"input size {scale:g}: g = 1 + w {'exact' if errors[0] < 1e-5 else 'wrong'}, g = w off by {errors[1]:.0%}, ε outside off by {errors[2]:.1%}")

# %% [markdown]
# The gain is $1 + w$, so a weight of zero means "leave it as it is". At ordinary sizes ε does not matter; for inputs near $\sqrt\epsilon$ = 0.001 its place does. And the gain? In this layer the gains are large and the
# missing 1 looks small. We ask all norms, then let the model speak with $g = w$: subtract 1 from every weight, ask for the capital of Egypt, and
# put it back.

# %% tags=["nbval-ignore-output"]
norms = [m for name, m in model.named_modules() if name.endswith("norm")]
missing = sorted((1 / (1 + m.weight)).abs().median().item() for m in norms)
print(f"the 1 is {missing[0]:.1%} to {missing[-1]:.0%} of a norm's median gain, {sum(missing) / len(missing):.0%} on average")
question = tokenizer("<bos>عاصمة مصر هي مدينة", add_special_tokens=False, return_tensors="pt")
for shift in (0.0, -1.0):
    for m in norms:
        m.weight += shift
    answer = model.generate(**question, max_new_tokens=8, do_sample=False, top_p=None, top_k=None)[0, question.input_ids.shape[1] :]
    for m in norms:
        m.weight -= shift
    print(f"g = {'1 + w' if not shift else 'w':<6} {tokenizer.decode(answer)!r}")

# %%
gain_error = (architecture.rms_norm(h, norm.weight) - norm(h)).abs().max().item()
print("our norm is the module's:", gain_error < 1e-5 or f"no, {gain_error:.1e}")
verdict("05-rmsnorm-equation", measured=round(gain_error, 6), outside=errors[2].item())

# %% [markdown]
# The guide shows the equation and no block, so this one is our question. Other models have one norm before each sublayer; here there are 18 blocks of two sublayers, and a last
# norm before the head.
#
# **Your bet:** how many norms has the model?

# %%
bet_norms = exercises.bet("norm-count", "norms in the whole model", low=19, high=127, step=1)

# %% [markdown]
# Count them.

# %%
per_block = [name for name, m in model.model.layers[0].named_modules() if name.endswith("norm")]
print(len(norms), "norms; in each block:", ", ".join(per_block))

# %%
verdict("06-one-norm-per-sublayer", measured=len(norms))

# %% [markdown]
# ## 1.6 · Is it faster?
#
# > Gemma uses RMSNorm instead of LayerNorm for faster computation.
#
# **Your bet:** how long does Gemma's [RMSNorm](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#rmsnorm) take, compared with PyTorch's LayerNorm, which does center?

# %%
bet_norm = exercises.bet("norm-time", "time of Gemma's RMSNorm ÷ time of F.layer_norm", low=0.0, high=10.0, step=0.5)

# %% [markdown]
# `torch.utils.benchmark` warms up, repeats and takes medians. All work on the same 512 × 640 numbers. "Fused" means that one call of PyTorch does it
# all; Gemma's module is written as several small operations.

# %% tags=["nbval-ignore-output"]
from torch.utils import benchmark

sample = torch.randn(512, 640)
gain = torch.ones(640)
timed = {
    "RMSNorm, Gemma's module": "norm(sample)",
    "RMSNorm, fused": "torch.nn.functional.rms_norm(sample, (640,), gain)",
    "LayerNorm, fused": "torch.nn.functional.layer_norm(sample, (640,), gain)",
    "RMSNorm, by hand": "sample * (sample.pow(2).mean(-1, True) + 1e-6).rsqrt() * gain",
    "LayerNorm, by hand": "(c := sample - sample.mean(-1, True)) * (c.pow(2).mean(-1, True) + 1e-6).rsqrt() * gain",
}
scope = {"norm": norm, "sample": sample, "gain": gain, "torch": torch}
medians = {name: benchmark.Timer(code, globals=scope, num_threads=1).blocked_autorange(min_run_time=0.5).median * 1e6 for name, code in timed.items()}
for name, micro in medians.items():
    print(f"{name:<26} {micro:8.0f} µs")

# %% [markdown]
# Written by hand, dropping the mean saves what it should: two passes over the numbers. Against a fused LayerNorm it saves nothing on this processor; how
# well a kernel was written outweighs what it leaves out. How much is there to save at all? All 109 norms of a forward pass, in arithmetic
# and in time, the median of five passes:

# %% tags=["nbval-ignore-output"]
import statistics
import time

spent, of_passes = [], []
starts = [m.register_forward_pre_hook(lambda *_: spent.append(-time.perf_counter())) for m in norms]
ends = [m.register_forward_hook(lambda *_: spent.append(time.perf_counter())) for m in norms]
with torch.no_grad():
    for _ in range(5):
        spent.clear()
        started = time.perf_counter()
        model(ids)
        of_passes.append(sum(spent) / (time.perf_counter() - started))
for hook in starts + ends:
    hook.remove()
flops = architecture.norm_share_of_flops(config)
of_time = statistics.median(of_passes)
print(f"norms: {flops:.3%} of the arithmetic, {of_time:.1%} of the time")

# %% [markdown]
# A GPU computes faster than it starts kernels, so the picture there is another. The same five ways were timed on one, and a forward pass with its norms and with nothing in their places:

# %% tags=["nbval-ignore-output"]
from helpers import reference

gpu = next(r for r in reference.load("memory").results if r["kind"] == "norms" and r["tokens"] == 2048)
on_gpu = {name: 1e6 * seconds for name, seconds in gpu["kernels"].items()}
gpu_share = 1 - gpu["without_norms_seconds"] / gpu["forward_seconds"]
for name, micro in on_gpu.items():
    print(f"{name:<26} {micro:8.0f} µs")
print(f"{gpu['norms']} norms take {gpu_share:.0%} of a forward pass of {gpu['tokens']:,} tokens")

# %% tags=["nbval-ignore-output"]
by_hand = {"rms": "RMSNorm, by hand", "layer": "LayerNorm, by hand"}
fused = {"fused_rms": "RMSNorm, fused", "fused_layer": "LayerNorm, fused"}
here = {key: medians[name] for key, name in by_hand.items()}
there = {f"gpu_{key}": on_gpu[name] for key, name in (by_hand | fused).items()}
verdict("07-rmsnorm-faster", measured=100 * flops, time=of_time, gpu_time=gpu_share, **here, **there)

# %% [markdown]
# **Why.** A norm reads and writes memory and computes next to nothing, so its cost is trips to memory and kernels to start, not subtractions. Written the same way RMSNorm is the faster one. Who writes either as one
# kernel gains far more on a GPU: Gemma's own module, in several small operations, takes several times as long there as a fused LayerNorm.

# %% [markdown]
# ## 1.7 · Does dropping the mean cost stability?
#
# > By removing the "mean centering" step of standard LayerNorm, we save clock cycles without losing training stability.
#
# First, how much *is* there to center? The share of each activation's energy that sits in its mean is what LayerNorm would remove.
#
# **Your bet:** how large is that share, in the layer where it is largest?

# %%
bet_mean = exercises.bet("mean-energy", "share of the energy in the mean, largest of 18 layers", low=0, high=50, step=1, unit="%")

# %% [markdown]
# We look at what enters each of the 18 blocks, token by token, and take the median over tokens.

# %% tags=["nbval-ignore-output"]
shares = []


def keep_share(norm, inputs, output):
    """The median over tokens of the energy in the mean, of what enters a norm."""
    x = inputs[0]  # (B, N, 640)
    shares.append((x.mean(-1) ** 2 / x.pow(2).mean(-1)).median().item())


hooks = [layer.input_layernorm.register_forward_hook(keep_share) for layer in model.model.layers]
with torch.no_grad():
    model(ids, logits_to_keep=1)
for hook in hooks:
    hook.remove()
print("share of energy in the mean, largest of 18 layers:", f"{max(shares):.2%}")

# %% [markdown]
# In this trained model both norms would do nearly the same thing. But does training *get* there as safely? That takes twins. A small Gemma 3 (8 layers, 320 wide) was trained from scratch on a GPU, on the course's
# conversations, 1,000 steps each time: with RMSNorm, with LayerNorm, and with a norm that divides by the spread and keeps the mean. Three [seeds](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#seed), four [learning rates](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#learning-rate) up to 64 times the smallest; a seed fixes the weights and
# the batches, so that runs are pairs (`scripts/experiments/norm_twins.py`).

# %% tags=["nbval-ignore-output"]
from helpers.figures import notebook_01 as figures

twins = reference.load("norm_twins")
print(twins.source())
figure, finding = figures.norm_twins(twins.results)
plots.show(figure, finding)

# %% [markdown]
# Of each pair we take the difference in [loss](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#loss) on text held out, average it over the rates, and have one number a seed: three numbers, and an interval as wide as three numbers deserve.

# %% tags=["nbval-ignore-output"]
from scipy import stats

ends = {(r["norm"], r["rate"], r["seed"]): r["validation"] for r in twins.results}
rates = sorted({rate for _, rate, _ in ends})
apart = [
    sum(ends["rms", rate, seed] - ends["layer", rate, seed] for rate in rates) / len(rates)
    for seed in (0, 1, 2)
]
mean = sum(apart) / len(apart)
low, high = stats.t.interval(0.95, len(apart) - 1, mean, stats.sem(apart))
diverged = sum(not r["loss"][-1] < r["loss"][100] for r in twins.results)  # a NaN is not smaller
counts = {"diverged": diverged, "runs": len(ends)}
verdict("40-rmsnorm-stability", measured=mean, low=low, high=high, energy=max(shares), **counts)

# %% [markdown]
# **Why.** Both norms share what stabilizes: the output does not grow with the input. The mean is one direction of hundreds, and the layers around it can learn to leave it empty. What this cannot say: whether the same holds for a model a
# thousand times as large, where runs do diverge.

# %% [markdown]
# ## 1.8 · One forward pass as a story
#
# The prompt says: *the capital of Egypt is the city of*. After each layer we ask what the model would say if it had to stop there: we
# norm that layer's output and multiply by the [embedding](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#embedding). This is the *[logit lens](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#logit-lens)*.

# %% tags=["nbval-ignore-output"]
target = tokenizer(" القاهرة", add_special_tokens=False).input_ids[0]
with torch.no_grad():
    hidden = model(**question, output_hidden_states=True).hidden_states  # 19 of (1, N, 640)
    states = [model.model.norm(state[0, -1]) for state in hidden[:-1]] + [hidden[-1][0, -1]]  # the last one is normed already
    lens = torch.stack([model.lm_head(state) for state in states])  # (19, V)
ranks = [(row > row[target]).sum().item() + 1 for row in lens]
for layer in (0, 6, 12, 15, 16, 17, 18):
    print(f"after layer {layer:>2}: rank of the answer {ranks[layer]:>6}, top token {tokenizer.decode(lens[layer].argmax())!r}")

# %% [markdown]
# Beside it, the length of the [residual stream](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#residual-stream): every layer adds to it, so its norm grows, and the final norm has to tame it.

# %% tags=["nbval-ignore-output"]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
left.plot(range(19), ranks, marker="o")
left.set(yscale="log", xlabel="after layer", ylabel="rank of the answer's first token")
left.invert_yaxis()
sizes = [state[0, 1:].norm(dim=-1).median().item() for state in hidden[:-1]]
right.plot(range(18), sizes, marker="s", color="#D55E00")
right.set(yscale="log", xlabel="before layer", ylabel="median norm of the residual stream")
first_hit = next((layer for layer, rank in enumerate(ranks) if rank == 1), None)
plots.show(figure, f"The answer's rank first rises to {max(ranks):,} and falls to {ranks[-1]}" + (f", reaching 1 after layer {first_hit}" if first_hit is not None else "") + f"; the residual stream grows from {sizes[0]:.0f} to {max(sizes):.0f}.")

# %% [markdown]
# And where do layers look? Two heads on our 700 tokens, on a logarithmic scale. The windowed layer cannot see further back than its band.

# %% tags=["nbval-ignore-output"]
_, weights_0 = architecture.attention(attention_0, x, config, layer=0)
figure, axes = plt.subplots(1, 2, figsize=(9, 4))
for axis, (name, w) in zip(axes, (("layer 0, sliding", weights_0), ("layer 5, global", weights_5))):
    image = axis.imshow(w[0, 0].clamp(min=1e-6).log10(), cmap="cividis", vmin=-6, vmax=0)
    axis.set(title=f"{name}, head 0", xlabel="key position", ylabel="query position")
figure.colorbar(image, ax=axes, label="log10 of the attention weight")
plots.show(figure, "The sliding layer's weights end in a sharp diagonal edge 512 tokens back; the global layer's reach to the first token.")

# %% [markdown]
# ## 1.9 · Exercises

# %% [markdown]
# <!-- exercise 1.1 -->
# **Exercise 1.1 · RMSNorm in two lines** (★☆☆, 5 minutes)
#
# Write `rms_norm(x, w)` for x of shape (..., D) and w of shape (D,), as Gemma does it, with ε = 1e-6.
#
# <details><summary>Hint 1</summary>
#
# `x.pow(2).mean(-1, keepdim=True)` is the mean of squares.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# ε is added before the root is taken; the gain is `1 + w`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def rms_norm(x, w):
#     root = (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
#     return x / root * (1 + w)
# ```
#
# </details>

# %%
def rms_norm(x, w):
    ...


exercises.check("1.1", rms_norm)

# %% [markdown]
# <!-- exercise 1.2 -->
# **Exercise 1.2 · The cache with another window** (★★☆, 10 minutes)
#
# Write `cache_bytes(n, window)`: the bytes that transformers keeps for n tokens in bfloat16, with 15 windowed and 3 global layers, one KV head of 256.
#
# <details><summary>Hint 1</summary>
#
# One token in one layer: keys and values, 256 numbers each, 2 bytes a number.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A windowed layer keeps `min(n, window - 1)` tokens, a global one n.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def cache_bytes(n, window):
#     per_token = 2 * 256 * 2
#     return (15 * min(n, window - 1) + 3 * n) * per_token
# ```
#
# </details>

# %%
def cache_bytes(n, window):
    ...


exercises.check("1.2", cache_bytes)

# %% [markdown]
# <!-- exercise 1.3 -->
# **Exercise 1.3 · Count one block** (★★☆, 10 minutes)
#
# Write `block_parameters()`: how many parameters one of the 18 blocks has. Hidden 640, four query heads and one KV head of 256, MLP 2,048, no biases.
#
# <details><summary>Hint 1</summary>
#
# Attention: `q_proj` 640 → 1,024, `k_proj` and `v_proj` 640 → 256, `o_proj` 1,024 → 640.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The MLP has gate, up and down. Norms: four of 640, and two of 256.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def block_parameters():
#     attention = 640 * 1024 + 2 * 640 * 256 + 1024 * 640
#     mlp = 3 * 640 * 2048
#     norms = 4 * 640 + 2 * 256
#     return attention + mlp + norms
# ```
#
# </details>

# %%
def block_parameters():
    ...


exercises.check("1.3", block_parameters)

# %% [markdown]
# <!-- exercise 1.4 -->
# **Exercise 1.4 · What a query may see** (★☆☆, 5 minutes)
#
# Write `visible_keys(i, window)`: the positions that query i attends to in a sliding layer, in order.
#
# <details><summary>Hint 1</summary>
#
# It sees itself and the window - 1 positions before it.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Near the start there are fewer: `max(0, …)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def visible_keys(i, window):
#     return list(range(max(0, i - window + 1), i + 1))
# ```
#
# </details>

# %%
def visible_keys(i, window):
    ...


exercises.check("1.4", visible_keys)

# %% [markdown]
# ## 1.10 · Recap
#
# Your bets beside what was measured.

# %% tags=["nbval-ignore-output"]
exercises.recap({
    "embedding-share": f"{budget['embedding'] / sum(budget.values()):.1%}",
    "key-rows": shapes[2],
    "attention-missing": worst,
    "cache-saved": f"one KV head x{heads_factor:.1f}, the window x{window_factor:.1f}",
    "norm-gain": "1 + w" if gain_error < 1e-5 else "not 1 + w",
    "norm-count": len(norms),
    "norm-time": medians["RMSNorm, Gemma's module"] / medians["LayerNorm, fused"],
    "mean-energy": f"{max(shares):.2%}",
})

# %% [markdown]
# **What this notebook cannot tell.** One model, one processor, a few hundred tokens of text. The [ablations](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#ablation) remove what the model was trained with; they
# say what *this* model relies on, not what another could learn to do without.
#
# **Quiz 1.** You double the context from 2,048 to 4,096 tokens. How does Gemma 3 270M's cache grow?
#
# <details><summary>A · It doubles.</summary>
#
# Only the three global layers double. The fifteen windowed ones were full at 511 tokens.
#
# </details>
# <details><summary>B · By less than half.</summary>
#
# Yes: from 13.5 to 19.5 MiB. The windowed layers stand still, the three global ones double.
#
# </details>
# <details><summary>C · It grows fourfold.</summary>
#
# That is how attention *scores* grow, if someone stores them all. The cache holds keys and values, one per token.
#
# </details>
#
# **Quiz 2.** In one channel of a norm the stored weight is 0. What does the norm do to that channel?
#
# <details><summary>A · It erases it.</summary>
#
# That would be the gain $g = w$. Gemma's gain is $1 + w$.
#
# </details>
# <details><summary>B · It norms it and leaves it at that.</summary>
#
# Yes: the gain is 1. Weights near zero are near a norm without any gain.
#
# </details>
# <details><summary>C · It divides by zero.</summary>
#
# The root is taken over the whole vector, with ε inside; the weight is not in it.
#
# </details>
#
# **Quiz 3.** You replace the one KV head of a layer by four copies of itself. What changes?
#
# <details><summary>A · The cache, which becomes four times as large.</summary>
#
# Yes, and nothing else: section 1.4 gets the same output from one, two and four heads.
#
# </details>
# <details><summary>B · The output: every query has keys of its own now.</summary>
#
# The four heads hold the same numbers. They could become different only by more training.
#
# </details>
# <details><summary>C · The number of weights only.</summary>
#
# The weights of `k_proj` and `v_proj` grow, too, but the cache is what grows with every token.
#
# </details>
#
# **To read:** *Gemma 3 Technical Report* (arXiv 2503.19786); Shazeer, *Fast Transformer Decoding* (arXiv 1911.02150); Zhang and Sennrich, *Root
# Mean Square Layer Normalization* (arXiv 1910.07467).
#
# The weights are provided under and subject to the [Gemma Terms of Use](https://ai.google.dev/gemma/terms).
