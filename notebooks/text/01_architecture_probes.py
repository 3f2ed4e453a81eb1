# %% [markdown]
# # 01 · Architecture probes: the model taken apart, number by number
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/arabic-functiongemma-course/blob/main/notebooks/01_architecture_probes.ipynb)
#
# **After this notebook you can** rebuild Gemma 3's norm and attention from its weights, say what its cache costs and why,
# show where its parameters are, and follow one Arabic prompt through all 18 layers.
#
# <div dir="rtl" lang="ar">
#
# ممّ يتكوّن نموذج <bdi dir="ltr">Gemma 3</bdi> الصغير، وهل تكفي معادلات الدليل لإعادة بنائه من أوزانه؟<br>
# نعدّ المعاملات، ونحسب التسوية والانتباه خطوةً خطوة ونقارنهما بما تحسبه المكتبة، ونقيس حجم الذاكرة المؤقتة للمفاتيح والقيم.<br>
# بعد هذا الدفتر تستطيع أن تعيد بناء التسوية والانتباه من الأوزان، وأن تقول كيف تتوزّع المعاملات وكم تأخذ الذاكرة المؤقتة ولماذا، وأن تتتبّع موجّهًا عربيًا في طبقات النموذج.
#
# </div>
#
# **You need** linear algebra and notebook 00. **Time**: 3 minutes on two CPU cores. **Memory**: 4 GB. The core, 1.1
# to 1.6, takes about 30 minutes to walk through. Sections marked *(deeper)* take 15 more and may be skipped.
#
# A CPU will do: the notebook runs on the processor, with or without a GPU. Its time on Colab's has not been measured.
#
# It follows section 1 of the guide and settles claims 1 to 7, 40 and 42. Terms are explained in the course's
# [glossary](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md), in English and Arabic.

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
# ## 1.1 · Where the parameters are
#
# > Its efficiency comes from a compact parameter count
#
# says the guide, and gives no breakdown. A model has to read and write tokens, and for each token of its vocabulary it
# keeps a row of numbers: the embedding. The rest are its 18 blocks.
#
# **Your bet:** which share of the parameters is the embedding, in whole percent?

# %%
from helpers import exercises

asked = "share of the parameters that is the embedding"
bet_share = exercises.bet("embedding-share", asked, low=0, high=100, step=1, unit="%")

# %% [markdown]
# We load the model in float32, because further down we compare to a hundred-thousandth, and count.

# %%
from helpers import checkpoints
from helpers.probes import architecture

tokenizer = checkpoints.load_tokenizer(checkpoint)
model = checkpoints.load_model(checkpoint, dtype="float32").requires_grad_(False)
config = model.config
budget = architecture.parameter_budget(model)
total = sum(budget.values())
for part, count in budget.items():
    print(f"{part:<10} {count:>12,}  {count / total:6.1%}")

# %% tags=["nbval-ignore-output"]
from helpers import plots
from helpers.figures import notebook_01 as figures

plots.show(*figures.parameters(budget))

# %% [markdown]
# Most of this model is a dictionary: 262,144 rows of 640 numbers. It is used twice, to read and, as `lm_head`, to
# write. *Compact* is right for the blocks, and the dictionary is what makes the whole less so.

# %%
from helpers.claims import verdict

verdict("04-compact", measured=budget["embedding"] / total)

# %% [markdown]
# ## 1.2 · How many heads have keys?
#
# > MQA uses multiple query heads but a **single key/value head**.
#
# In attention every token asks with a *query*, is found by its *key*, and hands over its *value*. A layer does this
# several times side by side, in heads. The matrix `q_proj` makes the queries, `k_proj` the keys and `v_proj`, which is
# of `k_proj`'s shape, the values. Here `q_proj` makes four heads, and its weight has 1,024 rows.
#
# **Your bet:** how many rows has `k_proj`?

# %%
bet_keys = exercises.bet("key-rows", "rows of k_proj", options=["128", "256", "512", "1024"])

# %% [markdown]
# The shapes of the weights answer it. `nn.Linear` stores (out, in), rows first.

# %%
attention_0 = model.model.layers[0].self_attn
shapes = (*attention_0.q_proj.weight.shape, *attention_0.k_proj.weight.shape)
print(f"q_proj {shapes[:2]}: {shapes[0] // config.head_dim} heads of {config.head_dim}")
print(f"k_proj {shapes[2:]}: {shapes[2] // config.head_dim} head")

# %%
verdict("01-mqa-single-kv-head", measured=shapes)

# %% [markdown]
# *Multi-query attention* (MQA) is one end of a scale. At the other end (MHA) each query head has a key head of its own.
# Between them (GQA) groups of query heads share one.
#
# The diagram shows all three. What sharing saves is measured in 1.6.

# %% tags=["nbval-ignore-output"]
from helpers.figures import diagrams

plots.show(
    diagrams.shared_key_value_head(),
    "Four query heads on four, two and one key/value heads; Gemma 3 270M is the last of the three.",
)

# %% [markdown]
# ## 1.3 · RMSNorm, and how often it stands there
#
# Numbers that pass through many layers grow or fade. A norm brings each token's vector back to one size.
#
# > $$\bar{a}_i = \frac{a_i}{\sqrt{\frac{1}{n} \sum_{j=1}^n a_j^2 + \epsilon}} \times g_i$$
#
# Read it from the inside: the mean of the squares, a small $\epsilon$ so that nobody divides by zero, the root, the
# division, and a gain $g$ for each channel. The checkpoint stores one vector for each norm, $w$.
#
# **Your bet:** what is the gain $g$?

# %%
bet_gain = exercises.bet("norm-gain", "the gain g", options=["w", "1 + w", "exp(w)"])

# %% [markdown]
# We write the equation down with the gain left open, and the place of $\epsilon$ too: beside the mean, as above, or
# outside the root.

# %%
def equation(a, gain, outside=False):
    """The guide's equation: a (..., D), gain (D,) -> (..., D)."""
    squares = a.pow(2).mean(-1, keepdim=True)  # (..., 1)
    root = squares.sqrt() + 1e-6 if outside else (squares + 1e-6).sqrt()
    return a / root * gain


def off(ours, theirs):
    """The largest difference, relative to the largest value."""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()

# %% [markdown]
# Then we ask one of the model's norms. The numbers that go in are random, once of ordinary size, once a thousand times
# smaller: there $\epsilon$ is as large as the squares themselves, and its place can be seen.

# %% tags=["nbval-ignore-output"]
import torch

norm = model.model.layers[5].input_layernorm
w = norm.weight
a = torch.randn(1, 40, 640, generator=torch.Generator().manual_seed(0))  # (1, 40, 640)
gains = {"w": w, "1 + w": 1 + w, "exp(w)": w.exp()}
for size in (1.0, 1e-3):
    errors = {name: off(equation(size * a, gain), norm(size * a)) for name, gain in gains.items()}
    misplaced = off(equation(size * a, 1 + w, outside=True), norm(size * a))
    told = ", ".join(f"g = {name} {error:.2g}" for name, error in errors.items())
    print(f"numbers of size {size:g}, off by: {told}; 1 + w, ε outside {misplaced:.2g}")
the_gain = min(errors, key=errors.get)
print(f"closest: g = {the_gain}")

# %%
gain_error = off(equation(a, 1 + w), norm(a))
verdict("05-rmsnorm-equation", measured=gain_error, plain=errors["w"], outside=misplaced)

# %% [markdown]
# With $g = 1 + w$ a stored weight of zero means "leave the channel as it is". The guide's equation is right; who
# fills in $w$ for $g$ builds another model. From here on this is our norm:

# %%
def rms_norm(x, w):
    """x (..., D), w (D,) -> (..., D)."""
    return equation(x, 1 + w)

# %% [markdown]
# Does the missing 1 matter? In the layer above it looks small, because its gains are large. So we let the model
# speak: subtract 1 from the weights of all norms, let it continue a sentence, and put the 1 back.
#
# The sentence is عاصمة مصر هي مدينة, *the capital of Egypt is the city of*. It should go on with القاهرة, *Cairo*.

# %%
norms = [m for name, m in model.named_modules() if name.endswith("norm")]
prompt = "<bos>عاصمة مصر هي مدينة"
question = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")


def continued(shift):
    """Eight tokens after the question, with ``shift`` added to the weight of every norm."""
    for m in norms:
        m.weight += shift
    made = model.generate(**question, max_new_tokens=8, do_sample=False, top_p=None, top_k=None)
    for m in norms:
        m.weight -= shift
    return tokenizer.decode(made[0, question.input_ids.shape[1] :])


# %% tags=["nbval-ignore-output"]
spoken = {"1 + w": continued(0.0), "w": continued(-1.0)}
plots.text_table([{"gain": g, "the model goes on": text} for g, text in spoken.items()])

# %% [markdown]
# The second line is how a wrong port of a model looks: nothing fails, every shape fits, and it babbles.
#
# Now, how many norms are there? The guide shows the equation and no block, so this question is ours. Llama, for one,
# has a norm before each sublayer, attention and MLP. Two in each of 18 blocks, and a last one before `lm_head`, would
# make 37.
#
# **Your bet:** how many norms has this model?

# %%
bet_norms = exercises.bet("norm-count", "norms in the whole model", low=19, high=127, step=1)

# %% [markdown]
# Count them, and read the names of one block.

# %%
block = model.model.layers[0]
per_block = [name for name, m in block.named_modules() if name.endswith("norm")]
print(f"{len(norms)} norms; in each block:", *per_block, sep="\n  ")

# %%
verdict("06-one-norm-per-sublayer", measured=len(norms), block=len(per_block))

# %% [markdown]
# Each sublayer is normed before *and* after, and queries and keys have norms of their own. The diagram numbers them in
# the order in which a token meets them.

# %% tags=["nbval-ignore-output"]
plots.show(
    diagrams.gemma_block(),
    f"One of Gemma 3's {config.num_hidden_layers} blocks: {len(per_block)} norms, two sublayers.",
)

# %% [markdown]
# ## 1.4 · Attention by hand
#
# > $$Attention(Q_i, K, V) = \text{softmax}\left(\frac{Q_i K^T}{\sqrt{d_k}}\right)V$$
#
# That is the textbook. Let us see how far it gets. We take the real input of a layer, do each step in the open, and
# compare with what the module makes of it.
#
# Most layers look back over a [sliding window][g-window] of 512 tokens, every sixth over everything. So the text is
# longer than the window, and we catch a layer of each kind.
#
# [g-window]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#sliding-window

# %%
from helpers import dataset

text = "<bos>" + " ".join(dataset.retention()["arabic"][:24])
ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids[:, :700]  # (1, 700)
inputs, hooks = {}, []
for i in (0, 5):

    def keep(module, arguments, named, output, i=i):
        inputs[i] = named["hidden_states"], output[0]  # (1, N, 640) each

    module = model.model.layers[i].self_attn
    hooks.append(module.register_forward_hook(keep, with_kwargs=True))
with torch.no_grad():
    true_logits = model(ids, logits_to_keep=64).logits[0]  # (64, V): the last 64 positions
for hook in hooks:
    hook.remove()
print(f"{ids.shape[1]} tokens; layer 0: {config.layer_types[0]}, layer 5: {config.layer_types[5]}")

# %% [markdown]
# **Where a token stands.** Nothing in the formula knows the order of words. Gemma adds it by turning: it takes the
# numbers of a head in pairs, and turns pair $i$ of the token at position $p$ by an angle that grows with $p$,
#
# $$ p \cdot \theta^{-2i/d}, \qquad i = 0, \dots, d/2 - 1. $$
#
# The first pairs turn fast, the last ones slowly. This is [RoPE][g-rope]. Here $d$ is the size of a
# head, 256, and $\theta$ a constant of the layer. A pair is made of numbers $i$ and $i + d/2$.
#
# [g-rope]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#rope

# %%
def rope(x, theta, first=0):
    """Turn x (B, H, N, D) by its positions, which begin at ``first``."""
    half = x.shape[-1] // 2
    speed = theta ** (-torch.arange(half) / half)  # (D/2,) radians a token
    angle = (first + torch.arange(x.shape[-2]))[:, None] * speed  # (N, D/2)
    left, right = x[..., :half], x[..., half:]
    turned = left * angle.cos() - right * angle.sin(), right * angle.cos() + left * angle.sin()
    return torch.cat(turned, -1)

# %% [markdown]
# Why turn? Two vectors turned by the same angle keep their product. So what a query and a key make of each other depends
# on how far apart they stand, and not on where. Two lines show it: the same pair of tokens, moved 100 places.

# %% tags=["nbval-ignore-output"]
pair = torch.randn(2, 1, 1, 8, 256, generator=torch.Generator().manual_seed(1))
here, moved_on = ((rope(pair[0], 1e4, at) @ rope(pair[1], 1e4, at).mT) for at in (0, 100))
print(f"scores of the same pairs, 100 places on: off by {off(moved_on, here):.4%}")

# %% [markdown]
# **Steps one and two.** Project, and cut into heads. Then what the textbook leaves out: queries and keys are normed
# ([QK-norm][g-qk]), with `rms_norm` from 1.3, and turned. A sliding layer has $\theta$ = 10,000.
#
# [g-qk]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#qk-norm

# %%
x, from_module = inputs[0]  # (1, N, 640) each
N = x.shape[1]
q = attention_0.q_proj(x).view(1, N, 4, 256).transpose(1, 2)  # (1, 4, N, 256)
k = attention_0.k_proj(x).view(1, N, 1, 256).transpose(1, 2)  # (1, 1, N, 256)
v = attention_0.v_proj(x).view(1, N, 1, 256).transpose(1, 2)  # (1, 1, N, 256)
q = rope(rms_norm(q, attention_0.q_norm.weight), theta=1e4)
k = rope(rms_norm(k, attention_0.k_norm.weight), theta=1e4)

# %% [markdown]
# **Steps three to five.** Scores, scaled by $1/16 = 1/\sqrt{256}$; the one key head serves all four query heads. A query may
# look back 511 tokens and never ahead. Then softmax, the mixture of values, and the projection back.

# %% tags=["nbval-ignore-output"]
scores = q @ k.mT / 16  # (1, 4, N, N)
distance = torch.arange(N)[:, None] - torch.arange(N)  # (N, N): query minus key
visible = (distance >= 0) & (distance < 512)
weights = scores.masked_fill(~visible, float("-inf")).softmax(-1)  # (1, 4, N, N)
mixed = (weights @ v).transpose(1, 2).reshape(1, N, 1024)
by_hand = attention_0.o_proj(mixed)  # (1, N, 640)
print(f"layer 0 by hand: off by {off(by_hand, from_module):.4%}")

# %% [markdown]
# Layer 5 is global: it has no window, and turns more slowly, with $\theta$ = 1,000,000. From here on we use
# `architecture.attention`, which does the same steps; a test holds it to `transformers`.

# %% tags=["nbval-ignore-output"]
x5, from_module_5 = inputs[5]
layer_5 = model.model.layers[5].self_attn
same_0, weights_0 = architecture.attention(attention_0, x, config, layer=0)
ours_5, weights_5 = architecture.attention(layer_5, x5, config, layer=5)
print(f"the helper, layer 0: off by {off(same_0, by_hand):.4%} from our own steps")
print(f"the helper, layer 5: off by {off(ours_5, from_module_5):.4%} from the module")

# %% [markdown]
# So attention has six ingredients: five that the formula does not show, and its scale. We will rebuild *all* layers and
# leave one out at a time. Without `own_theta` each kind of layer gets the other kind's $\theta$; without `scale` nothing
# is divided by 16. Without `causal` a token may look ahead, too; without `window` every layer looks back over all.
#
# **Your bet:** which one would the model miss most?

# %%
left_out = list(architecture.INGREDIENTS)
bet_missing = exercises.bet("attention-missing", "the ingredient missed most", options=left_out)

# %% [markdown]
# How wrong do the next-token predictions become? [KL divergence][g-kl] is 0 nats for the same predictions. Beside it
# stands how often the likeliest token stays. "The guide's formula" is the equation above and nothing else. The guide
# gives it to show what the heads share, and does not say that it is all of Gemma's attention.
#
# [g-kl]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#kl-divergence

# %% tags=["nbval-ignore-output"]
from tqdm import tqdm

from helpers import scoring


def damage(without):
    """(KL in nats, share of positions whose top token stays) without some ingredients."""
    with torch.no_grad(), architecture.rebuilt(model, without):
        logits = model(ids, logits_to_keep=64).logits[0]
    same = logits.argmax(-1) == true_logits.argmax(-1)
    return scoring.token_kl(true_logits, logits).mean().item(), same.float().mean().item()


formula = ("qk_norm", "rope", "causal", "window")
settings = {"everything in place": ()} | {f"without {i}": (i,) for i in left_out}
settings["the guide's formula"] = formula
damages = {}
for name in tqdm(settings, desc="rebuilding", unit="model", file=sys.stdout):
    damages[name] = damage(settings[name])

# %% tags=["nbval-ignore-output"]
plots.show(*figures.ingredients(damages))
worst = max(left_out, key=lambda i: damages[f"without {i}"][0])

# %% [markdown]
# The first row shows that the rebuilt model predicts as the real one does, on these 64 positions; it has to be as good
# as zero before any other row means something.

# %% tags=["nbval-ignore-output"]
assert damages["everything in place"][0] < 1e-6
apart, kept = damages["the guide's formula"]
verdict("02-attention-equation", measured=apart, kept=kept)

# %% [markdown]
# **Why.** The equation is the heart of attention, and its scale is right: $1/\sqrt{d_k}$ and the configured scale, 1/16,
# agree. What tells a model *where* a word stands, and *what it may look at*, is not in it.
# Nor are the norms on queries and keys, and these the model missed most.
#
# ## 1.5 · Does anything look ahead?
#
# The guide names the kind of model, and the name says what a token may look at:
#
# > Gemma-270M is a **Decoder-Only Transformer**.
#
# Then no position may depend on a later one, in any layer. We replace the last hundred tokens by others, keep all
# before them, and see what moves.
#
# **Your bet:** how many of the positions before the replaced ones end up with other numbers?

# %%
bet_ahead = exercises.bet(
    "look-ahead", "earlier positions that move", options=["none", "the nearest few", "all"]
)

# %% [markdown]
# The last layer's output at each position, with the old end and with the new one:

# %% tags=["nbval-ignore-output"]
other_end = torch.cat([ids[:, :-100], ids[:, :100]], dim=1)
with torch.no_grad():
    before, after = (model.model(tokens).last_hidden_state[0] for tokens in (ids, other_end))
moved = (before - after).abs().amax(-1)  # (N,)
plots.show(*figures.moved(moved, replaced=100))

# %% tags=["nbval-ignore-output"]
kept_still, later = moved[:-100].max().item(), moved[-100:].max().item()
share_moved = (moved[:-100] > 1e-4).float().mean().item()
ahead = "none" if share_moved == 0 else "all" if share_moved == 1 else "the nearest few"
verdict("42-decoder-only", measured=kept_still, n=100, later=later)

# %% [markdown]
# Because nothing earlier can change, keys and values of earlier tokens need not be computed again. They can be kept,
# and that is the next section.
#
# ## 1.6 · What the cache costs
#
# > This drastically reduces the KV cache size, which is critical for on-device (mobile) deployment where VRAM is a luxury.
#
# While it writes, the model keeps the keys and values of all earlier tokens, its [KV cache][g-cache]. Two things make it
# small: one head instead of four, and the window of 512 tokens that 15 of 18 layers have.
#
# **Your bet:** which of the two divides the cache more, at 4,096 tokens?
#
# [g-cache]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#kv-cache

# %%
savings = ["one KV head", "the window"]
asked = "what divides the cache more at 4,096 tokens"
bet_cache = exercises.bet("cache-saved", asked, options=savings)

# %% [markdown]
# **The formula.** A token in one layer takes two vectors, key and value, of 256 numbers for each head, 2 bytes a number.
# The three global layers keep all $n$ tokens. A sliding layer keeps 511: the next token sees these and itself, which
# makes 512. So
#
# $$ \text{bytes}(n) = 2 \cdot h_{kv} \cdot 256 \cdot 2 \cdot \bigl(3\,n + 15 \min(n, 511)\bigr). $$

# %%
def kv_bytes(n, kv_heads=1, window=512):
    """Bytes of keys and values in bfloat16; ``window=None`` lets all 18 layers keep all n."""
    per_token = 2 * kv_heads * 256 * 2
    kept = n if window is None else min(n, window - 1)
    return per_token * (3 * n + 15 * kept)

# %% [markdown]
# Now the real cache: run the model and weigh the tensors that it keeps, as bfloat16, in which one would serve it. A processor
# that does not multiply bfloat16 computes in float32 here, and keeps the same numbers in twice the bytes.

# %%
from helpers import environment

kind = "bfloat16" if environment.multiplies_bf16() else "float32"
serving = checkpoints.load_model(checkpoint, dtype=kind).requires_grad_(False)
weighed = {}
for n in (512, 1024, 2048, 4096):
    same_token = ids[:, :1].repeat(1, n)  # what the tokens are does not matter for the weight
    with torch.no_grad():
        cache = serving(same_token, use_cache=True, logits_to_keep=1).past_key_values
    weighed[n] = architecture.cache_bytes(cache) * 2 // serving.dtype.itemsize
    mib = weighed[n] / 2**20
    print(f"{n:>5} tokens: {weighed[n]:>11,} bytes, formula {kv_bytes(n):>11,}  ({mib:.1f} MiB)")
serving = cache = None

# %% [markdown]
# What does the memory pay for when four heads hold the same? We copy the head and see. The function stays the same, only
# the memory grows. Whether one head loses anything against four this cannot show: a *trained* model with four heads could use them for different things; that is what multi-query attention gives up.

# %% tags=["nbval-ignore-output"]
def with_kv_heads(heads):
    """Layer 0's attention with its one KV head repeated: (output, numbers that a cache keeps)."""
    keys, values = k.repeat(1, heads, 1, 1), v.repeat(1, heads, 1, 1)  # (1, heads, N, 256)
    shared = 4 // heads  # queries that share a head
    s = q @ keys.repeat_interleave(shared, 1).mT / 16
    share = s.masked_fill(~visible, float("-inf")).softmax(-1)
    mixed = (share @ values.repeat_interleave(shared, 1)).transpose(1, 2).reshape(1, N, 1024)
    return attention_0.o_proj(mixed), keys.numel() + values.numel()


for heads in (1, 2, 4):
    output, numbers = with_kv_heads(heads)
    print(f"{heads} KV heads: off by {off(output, by_hand):.4%}, cache x{numbers // (2 * N * 256)}")

# %% [markdown]
# The formula held where we could weigh. So we let it draw what we cannot run here, up to the 32,768 tokens that the
# model was made for.

# %% tags=["nbval-ignore-output"]
lengths = [2**i for i in range(8, 16)]
ways = {
    "4 KV heads without a window": dict(kv_heads=4, window=None),
    "1 KV head without a window": dict(window=None),
    "1 KV head with the window": {},
}
lines = {name: [kv_bytes(n, **how) / 2**20 for n in lengths] for name, how in ways.items()}
crosses = {n: size / 2**20 for n, size in weighed.items()}
plots.show(*figures.cache(lengths, lines, crosses, weights=2 * total / 2**20))

# %% [markdown]
# Two savings multiply. Here is each one's factor at 4,096 tokens, from the cache that was weighed.

# %%
heads_factor = kv_bytes(4096, kv_heads=4) / weighed[4096]
window_factor = kv_bytes(4096, window=None) / weighed[4096]
print(f"4,096 tokens: one head divides by {heads_factor:.1f}, the window by {window_factor:.2f}")
print(f"1,024 tokens: the cache is {weighed[1024] / (2 * total):.1%} of the weights")
verdict("03-mqa-kv-cache", measured=heads_factor, window=window_factor)

# %% [markdown]
# The single head divides by the same number at any length. The window's factor grows with the text, and is 1 while the
# text fits into it.
#
# **On a phone** a short request never notices the cache: beside the weights it is small. It matters for long documents,
# and for servers that hold many conversations at once.
#
# Here the core ends. What follows can be read in any order; the exercises (1.11) need only what came before.

# %% [markdown]
# ## 1.7 · What the table buys in Arabic (deeper)
#
# The embedding is the largest part of the model. What does Arabic get for it? [*Fertility*][g-fertility] is the number
# of tokens that a word is cut into. Fewer is cheaper, in time, memory and money.
#
# We compare how people ask: requests for the same tools in five kinds of Arabic and in English. They are not
# translations of each other. Numbers and Latin codes inside them count as words, too.
#
# [g-fertility]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#fertility

# %%
test_rows = dataset.load("test")
requests = {d: dataset.of_dialect(test_rows, d)["query"] for d in dataset.DIALECTS}
requests["english"] = [call["query"] for call in dataset.retention()["calls"]]

# %% [markdown]
# A word's tokens vary from request to request. So the rate has an interval: draw as many requests with replacement, 500
# times, and see between which values 95 % of the rates lie (a *bootstrap*).

# %%
def fertility(texts):
    """Tokens per word, and a bootstrap 95 % interval over texts."""
    from scipy.stats import bootstrap

    tokens = [len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts]
    words = [len(text.split()) for text in texts]

    def rate(t, w, axis=-1):
        return t.sum(axis) / w.sum(axis)

    drawn = bootstrap(
        (tokens, words), rate, paired=True, n_resamples=500, rng=0, method="percentile"
    )
    return sum(tokens) / sum(words), *drawn.confidence_interval


# %% tags=["nbval-ignore-output"]
rates = {language: fertility(texts) for language, texts in requests.items()}
plots.show(*figures.fertility(rates))

# %% [markdown]
# Look at two distances: from English to the nearest kind of Arabic, and between the kinds of Arabic. The first is not
# all the tokenizer's doing: an Arabic word often holds an article or a preposition that English writes apart.
#
# A vocabulary without any Arabic, letters included, would cut to single bytes, two for each letter. How many tokens
# would a word be then? The difference is what the table buys.

# %%
arabic = " ".join(text for d in dataset.DIALECTS for text in requests[d])
spelled = len(arabic.replace(" ", "").encode()) / len(arabic.split())
largest = max(rates[d][0] for d in dataset.DIALECTS)
print(f"an Arabic word: {spelled:.1f} bytes, and at most {largest:.2f} tokens in any dialect")

# %% [markdown]
# ## 1.8 · Is it faster? (deeper)
#
# > Gemma uses RMSNorm instead of LayerNorm for faster computation.
#
# LayerNorm subtracts the mean first and then does what RMSNorm does. So RMSNorm has less to do. Whether that is felt
# depends on who wrote it: Gemma's module runs several small operations, `F.layer_norm` is a single one (*fused*).
#
# **Your bet:** how long does Gemma's module take on this processor, with `F.layer_norm` as 1?

# %%
asked = "time of Gemma's RMSNorm ÷ time of F.layer_norm"
bet_norm = exercises.bet("norm-time", asked, low=0, high=10, step=0.1)

# %% [markdown]
# Five ways to norm the same 512 × 640 numbers: Gemma's module, and each norm by hand and fused. A machine has other
# things to do, and what it does changes from second to second. So the five are timed in turn, 40 rounds, and compared
# within a round.

# %% tags=["nbval-ignore-output"]
import statistics

sample, gain = torch.randn(512, 640), torch.ones(640)
centred = "(sample - sample.mean(-1, True))"
timed = {
    "RMSNorm, the model's module": "norm(sample)",
    "RMSNorm, fused": "F.rms_norm(sample, (640,), gain)",
    "LayerNorm, fused": "F.layer_norm(sample, (640,), gain)",
    "RMSNorm, by hand": "sample * (sample.pow(2).mean(-1, True) + 1e-6).rsqrt() * gain",
    "LayerNorm, by hand": f"(c := {centred}) * (c.pow(2).mean(-1, True) + 1e-6).rsqrt() * gain",
}
scope = {"norm": norm, "sample": sample, "gain": gain, "F": torch.nn.functional}
times = architecture.timed_in_turn(timed, scope)


def ratios(first, second):
    """One time divided by the other, round by round."""
    return [one / other for one, other in zip(times[first], times[second])]


hand_ratios = ratios("RMSNorm, by hand", "LayerNorm, by hand")
hand, faster = statistics.median(hand_ratios), sum(r < 1 for r in hand_ratios)
module_ratio = statistics.median(ratios("RMSNorm, the model's module", "LayerNorm, fused"))
print(f"by hand, RMSNorm takes {hand:.2f} of LayerNorm's time, less in {faster} of 40 rounds")
print(f"Gemma's module takes {module_ratio:.1f} of fused LayerNorm's time")

# %% [markdown]
# How much is there to save at all? We add up the time inside all norms of a forward pass, and take the median of three
# passes. Beside it stands their share of the arithmetic, counted from the shapes.

# %% tags=["nbval-ignore-output"]
flops = architecture.norm_share_of_flops(config)
of_time = statistics.median(architecture.time_in_norms(model, norms, ids) for _ in range(3))
print(f"norms: {flops:.3%} of the arithmetic, {of_time:.1%} of the time")

# %% [markdown]
# A GPU runs an operation as a *kernel*, and it computes faster than it starts kernels. So the picture there is another.
# The same five ways were timed on one, for 2,048 tokens in bfloat16, and stored. So was a forward pass with its norms and
# with nothing in their places.

# %% tags=["nbval-ignore-output"]
from helpers import reference

memory = reference.load("memory")
print(memory.source())
gpu = next(r for r in memory.results if r["kind"] == "norms" and r["tokens"] == 2048)
there = {name: 1e6 * seconds for name, seconds in gpu["kernels"].items()}
gpu_share = 1 - gpu["without_norms_seconds"] / gpu["forward_seconds"]
here = {name: [1e6 * seconds for seconds in values] for name, values in times.items()}
plots.show(*figures.norm_times(here, there))

# %% [markdown]
# The claim is settled by the GPU's numbers, which no other work on your machine can change: by hand, and fused. Your
# processor's ratio stands beside them.

# %% tags=["nbval-ignore-output"]
gpu_hand = there["RMSNorm, by hand"] / there["LayerNorm, by hand"]
gpu_fused = there["RMSNorm, fused"] / there["LayerNorm, fused"]
gpu_module = there["RMSNorm, the model's module"] / there["LayerNorm, fused"]
on_gpu = {"fused": gpu_fused, "module": gpu_module, "gpu_time": gpu_share}
on_cpu = {"here": hand, "faster": faster, "rounds": len(hand_ratios), "time": of_time}
verdict("07-rmsnorm-faster", measured=gpu_hand, flops=flops, **on_gpu, **on_cpu)

# %% [markdown]
# **Why.** A norm reads and writes memory and computes next to nothing. Its cost is trips to memory and kernels to start.
# The mean adds to both, and by hand that shows. Writing a norm as one kernel saves trips *and* starts; on the GPU that
# saves more than leaving out the mean. On the processor compare the two fused bars: where our outputs were made,
# LayerNorm's is the shorter one.

# %% [markdown]
# ## 1.9 · Does dropping the mean cost stability? (deeper)
#
# > By removing the "mean centering" step of standard LayerNorm, we save clock cycles without losing training stability.
#
# First, how much *is* there to center? LayerNorm would remove the part of a vector that all its channels share, its
# mean. We measure the share of a vector's energy, the sum of its squares, that is in the mean.
#
# **Your bet:** how large is that share, in the layer where it is largest?

# %%
shares_to_bet = ["under 0.1 %", "0.1 to 1 %", "1 to 10 %", "over 10 %"]
bet_mean = exercises.bet("mean-energy", "energy in the mean, largest layer", options=shares_to_bet)

# %% [markdown]
# We look at what enters each block, token by token, and take the median over the tokens.

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
energy = max(shares)
energy_bin = shares_to_bet[sum(energy >= edge for edge in (0.001, 0.01, 0.1))]
print(f"share of energy in the mean, largest of {len(shares)} layers: {energy:.2%} ({energy_bin})")

# %% [markdown]
# That is a model which has learned to live without centering. Does training *get* there as safely? That takes twins:
# a small Gemma 3 (8 layers, 320 wide), trained from scratch on a GPU on the course's conversations, 1,000 steps each.
#
# Twelve runs have RMSNorm and twelve LayerNorm: four learning rates up to 64 times the smallest, three seeds each. A
# seed fixes the weights and the batches, so that runs are pairs. Twelve more have a third norm, which divides by the
# spread and keeps the mean (`scripts/experiments/norm_twins.py`).

# %% tags=["nbval-ignore-output"]
from helpers import reference

twins = reference.load("norm_twins")
print(twins.source())
plots.show(*figures.norm_twins(twins.results))

# %% [markdown]
# Of each pair we take the difference in loss on text held out, and average it over the rates. That leaves one number a
# seed: three numbers, and an interval as wide as three numbers deserve. A run counts as diverged when it ends no better
# than it was after a hundred steps.

# %% tags=["nbval-ignore-output"]
import statistics

from scipy import stats

ends = {(r["norm"], r["rate"], r["seed"]): r["validation"] for r in twins.results}
rates_run = sorted({rate for _, rate, _ in ends})
apart = []
for seed in (0, 1, 2):
    gaps = [ends["rms", rate, seed] - ends["layer", rate, seed] for rate in rates_run]
    apart.append(statistics.mean(gaps))
mean = statistics.mean(apart)
low, high = stats.t.interval(0.95, len(apart) - 1, mean, stats.sem(apart))
counts = {"runs": 0, "diverged": 0, "third": 0, "third_diverged": 0}
for run in twins.results:
    kind = "third" if run["norm"] == "spread" else "runs"
    counts[kind] += 1
    if not run["loss"][-1] < run["loss"][100]:  # a NaN is not smaller
        counts["third_diverged" if kind == "third" else "diverged"] += 1
verdict("40-rmsnorm-stability", measured=mean, low=low, high=high, energy=energy, **counts)

# %% [markdown]
# **What this can say, and what not.** The card's *holds* is for the loss: it is compared, and the interval says how
# closely. Stability is another matter: to compare it, some runs have to break. Here none did: the rates were not hard
# enough to tell the norms apart. On a model a thousand times as large they may be. On stability the claim stays open.

# %% [markdown]
# ## 1.10 · One forward pass as a story (deeper)
#
# Back to عاصمة مصر هي مدينة, *the capital of Egypt is the city of*. After each layer we ask what the model would say if
# it had to stop there: we norm that layer's output and multiply by the embedding. This is the [logit lens][g-lens].
# Layers count from 1 here, and 0 is the embedding itself.
#
# The answer we look for is the first token of القاهرة, *Cairo*. Its rank is 1 when it is the likeliest of all 262,144.
#
# [g-lens]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#logit-lens

# %% tags=["nbval-ignore-output"]
cairo = tokenizer(" القاهرة", add_special_tokens=False).input_ids[0]
with torch.no_grad():
    hidden = model(**question, output_hidden_states=True).hidden_states  # 19 of (1, N, 640)
    states = [model.model.norm(state[0, -1]) for state in hidden[:-1]]
    states.append(hidden[-1][0, -1])  # the last one is normed already
    lens = torch.stack([model.lm_head(state) for state in states])  # (19, V)
ranks = [(row > row[cairo]).sum().item() + 1 for row in lens]
tokens = [tokenizer.decode(row.argmax()) for row in lens]
figures.lens_table(ranks, tokens, layers=(0, 6, 12, 15, 16, 17, 18))

# %% [markdown]
# Beside the rank we draw the length of the [residual stream][g-stream], the vector that every layer adds to. Nothing
# shrinks it on the way, so the final norm has to tame it.
#
# [g-stream]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#residual-stream

# %% tags=["nbval-ignore-output"]
sizes = [state[0, 1:].norm(dim=-1).median().item() for state in hidden[:-1]]
plots.show(*figures.lens(ranks, sizes))

# %% [markdown]
# And where do layers look? One head of each kind on our 700 tokens, on a logarithmic scale. These two layers are counted from 0 again, as in section 1.4. A row is a query, and what
# it may not see is darkest.

# %% tags=["nbval-ignore-output"]
heads_drawn = {"layer 0, sliding": weights_0[0, 0], "layer 5, global": weights_5[0, 0]}
plots.show(*figures.attention_maps(heads_drawn, config.sliding_window))

# %% [markdown]
# ## 1.11 · Exercises
#
# Each asks for a small function; in all but 1.3 it is your prediction. The check judges it. Then the cell below runs the
# live model, so that you see it happen. Until you have written something, that cell only says so.

# %% [markdown]
# <!-- exercise 1.1 -->
# **Exercise 1.1 · Break a norm, and say where it shows** (★★☆, 10 minutes)
#
# We will make one norm of one block return zeros and read the keys that all layers keep in their cache. Write `shows(norm, layer)`: the pair (first layer whose keys change, first position that changes there), before you see it. `norm` is a name as in the diagram of section 1.3, such as `q_norm` or `input_layernorm`; layers and positions count from 0, and `layer` is not the last.
#
# <details><summary>Hint 1</summary>
#
# Which of the six stand between a block's input and its own keys? All the others are heard first in the block after.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# What can a changed score do to the first token, which may look at itself alone?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def shows(norm, layer):
#     if norm in ("input_layernorm", "k_norm"):
#         return layer, 0
#     if norm == "q_norm":
#         return layer + 1, 1  # the first token's one weight is 1, whatever its score
#     return layer + 1, 0
# ```
#
# </details>

# %%
def shows(norm, layer):
    ...


exercises.check("1.1", shows)

# %% [markdown]
# **On the live model.** Block 7's norms, one after the other, on the first 64 tokens. A row is one break: what you said,
# and what the cached keys say.

# %% tags=["nbval-ignore-output"]
if shows("q_norm", 7):
    broken = []
    for name in per_block:
        short = name.split(".")[-1]
        seen = architecture.first_change(model, ids[:, :64], layer=7, norm=name)
        broken.append({"norm": short, "you said": shows(short, 7), "layer, position": seen})
    display(plots.text_table(broken))
else:
    print("Predict first: nothing was broken.")

# %% [markdown]
# <!-- exercise 1.2 -->
# **Exercise 1.2 · A window for a phone** (★★☆, 10 minutes)
#
# An app can spare `budget` bytes for the cache of n tokens. Write `largest_window(n, budget)`: the widest window of the 15 sliding layers with which the cache still fits, in bfloat16. n is longer than the window.
#
# <details><summary>Hint 1</summary>
#
# Turn the formula of section 1.6 round. What do the three global layers take in any case?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A token in one layer takes 2 · 256 · 2 bytes, and a window of W keeps W − 1 tokens.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def largest_window(n, budget):
#     room = budget // (2 * 256 * 2) - 3 * n  # tokens that all sliding layers may keep together
#     return room // 15 + 1
# ```
#
# </details>

# %%
def largest_window(n, budget):
    ...


exercises.check("1.2", largest_window)

# %% [markdown]
# **On the live model.** 8 MiB for 2,048 tokens: we set your window, let the model read, and weigh its cache. Then we ask
# what the narrower view costs on our 700 tokens, in nats from the model as it is.

# %% tags=["nbval-ignore-output"]
if window := largest_window(2048, 8 * 2**20):
    many = ids[:, :1].repeat(1, 2048)
    with torch.no_grad(), architecture.windowed(model, window):
        cache = model(many, use_cache=True, logits_to_keep=1).past_key_values
        narrow = model(ids, logits_to_keep=64).logits[0]
    spent = architecture.cache_bytes(cache) / 2  # float32 here, twice the bytes of bfloat16
    cost = scoring.token_kl(true_logits, narrow).mean()
    print(f"window {window}: {spent / 2**20:.3f} of 8 MiB, {cost:.2f} nats from the whole window")
else:
    print("Predict first: the window was not changed.")

# %% [markdown]
# <!-- exercise 1.3 -->
# **Exercise 1.3 · Which norm needs its 1 most?** (★★☆, 15 minutes)
#
# With g = w in every norm the model babbled. Write `shift(model, kind, by)`: it adds `by` to the weight of every norm whose name ends with `.kind`, in place, and returns how many there were. Then choose the kind that you expect to hurt most, and let the cell below take the 1 from each kind alone.
#
# <details><summary>Hint 1</summary>
#
# `model.named_modules()` gives pairs of name and module; names look like `model.layers.3.self_attn.q_norm`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `module.weight += by` changes the weight itself; `module.weight * …` would not undo with a second call.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def shift(model, kind, by):
#     norms = [m for name, m in model.named_modules() if name.endswith("." + kind)]
#     for m in norms:
#         m.weight += by
#     return len(norms)
# ```
#
# </details>

# %%
def shift(model, kind, by):
    ...


exercises.check("1.3", shift)

# %% [markdown]
# **On the live model.** Each kind of norm without its 1, in all 18 blocks at once: how far the predictions move on 128
# tokens, and how the model now goes on after *the capital of Egypt is the city of*.

# %% tags=["nbval-ignore-output"]
def without_one(kind):
    """A row: the kind, the nats from the whole model, and eight tokens after the question."""
    whole = model(ids[:, :128]).logits[0]
    shift(model, kind, -1.0)
    nats = scoring.token_kl(whole, model(ids[:, :128]).logits[0]).mean().item()
    said = continued(0.0)
    shift(model, kind, +1.0)
    return {"without its 1": kind, "nats": f"{nats:.1f}", "the model goes on": said}


if shift(model, "q_norm", 0.0):
    display(plots.text_table([without_one(name.split(".")[-1]) for name in per_block]))
else:
    print("Write it first: every norm has kept its 1.")

# %% [markdown]
# <!-- exercise 1.4 -->
# **Exercise 1.4 · How far does one token reach?** (★★★, 10 minutes)
#
# We replace the first of n tokens. Write `reach(blocks, window, n)`: the furthest position that can have changed after that many blocks. The first five blocks slide, the sixth is global, and so it goes on; positions count from 0.
#
# <details><summary>Hint 1</summary>
#
# After one sliding block the furthest reader of position 0 is position window − 1.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The second block reads what the first one wrote. And what can a global block not see?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def reach(blocks, window, n):
#     return n - 1 if blocks > 5 else min(n - 1, blocks * (window - 1))
# ```
#
# </details>

# %%
def reach(blocks, window, n):
    ...


exercises.check("1.4", reach)

# %% [markdown]
# **On the live model.** We narrow the window to 16, replace the first of 200 tokens, and look in all 18 blocks for the
# furthest position that moved.

# %% tags=["nbval-ignore-output"]
if reach(1, 16, 200):
    with architecture.windowed(model, 16):
        seen = architecture.reach(model, ids[:, :200], other=ids[0, 5].item())
    for blocks in (1, 2, 3, 5, 6, 18):
        said, moved_to = reach(blocks, 16, 200), seen[blocks - 1]
        print(f"after {blocks:>2} blocks: you said {said}, moved {moved_to}")
else:
    print("Predict first: no token was replaced.")

# %% [markdown]
# ## 1.12 · Recap
#
# Your bets beside what was measured, and how far off they were. A bet that you did not place says so.

# %% tags=["nbval-ignore-output"]
exercises.recap({
    "embedding-share": f"{budget['embedding'] / total:.0%}",
    "key-rows": shapes[2],
    "norm-gain": the_gain,
    "norm-count": len(norms),
    "attention-missing": worst,
    "look-ahead": ahead,
    "cache-saved": "one KV head" if heads_factor > window_factor else "the window",
    "norm-time": lambda: round(module_ratio, 1),
    "mean-energy": lambda: energy_bin,
})

# %% [markdown]
# **What this notebook cannot tell.** One model, one processor, a few hundred tokens of text. Leaving something out of a
# trained model says what *this* model relies on, and not what another could learn to do without.
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
# Yes, and the output stays: section 1.6 gets the same from one, two and four heads.
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

# %% [markdown]
# ## 1.13 · What to do now
#
# | You want to … | Look at | Because |
# |---|---|---|
# | make the model smaller | the embedding | it is the largest part; the blocks are small already (1.1) |
# | read long documents on a phone | the three global layers | only they grow past the window (1.6) |
# | hold many conversations at once | bytes of cache times conversations | weights are shared, caches are not (1.6) |
# | write Gemma 3 in another language | 1 + w, QK-norm, two values of θ, a window that counts the query | each one breaks it silently (1.3, 1.4) |
# | make norms faster | one kernel instead of several | on a GPU memory trips and starts cost more than the mean (1.8) |
#
# **Next:** [02 · LoRA mathematics](02_lora_mathematics.ipynb) adds a small update to the matrices you have just taken
# apart, and measures what its rank and its scale do.
#
# **To read:** *Gemma 3 Technical Report* (arXiv 2503.19786); Shazeer, *Fast Transformer Decoding* (arXiv 1911.02150);
# Zhang and Sennrich, *Root Mean Square Layer Normalization* (arXiv 1910.07467); Su et al., *RoFormer* (arXiv
# 2104.09864).
#
# The weights are provided under and subject to the [Gemma Terms of Use](https://ai.google.dev/gemma/terms).
