# %% [markdown]
# # 00 · Start here: a small model, an Arabic request, and a guide's claims
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/arabic-functiongemma-course/blob/main/notebooks/00_start_here.ipynb)
#
# **After this notebook you can** run a 270-million-parameter model on an Arabic request in five [dialects](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#dialect), say precisely what it
# gets right and wrong, read FunctionGemma's call format, and find your way through the guide's claims.
#
# **You need** Python and a little PyTorch. **Time**: 2 minutes on two CPU cores. **Memory**: 5 GB.
# On Colab a T4 is asked for. The time has not been measured on a T4; with the installation we guess 3 minutes.
#
# This course follows *The Master Guide: Arabic FunctionGemma & Unsloth Optimization* section by section and tests what it
# says, on the real model, with the real libraries. Each claim ends in a card: the guide says · we measured · verdict. Some
# claims hold, some need a correction, and some do not hold.
#
# Terms are explained in the course's [glossary](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md), in English and Arabic.

# %% [markdown]
# ## 0.1 · Setup
#
# The setup cell is the same in all notebooks. On Colab it fetches the course and installs what is missing; in a clone it only
# imports. It ends with the versions, the device and the model in use.
#
# It finds the course wherever it is: around this notebook, in any zip beside it, in Drive (once it is mounted), among Kaggle's
# inputs, or at the address in its first line. On Colab each notebook has a machine of its own. To keep the model and your [bets](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#bet) from
# one to the next, mount Drive and set `COURSE_CACHE` and `COURSE_BETS` to a folder and a file there, before the setup cell.

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
# Two models can appear in the last line. With a GPU and the Hugging Face hub in reach it is **FunctionGemma 270M**, which
# Google trained to call functions (its model card, `google/functiongemma-270m-it`). Without, it is **Gemma 3 270M**, the
# [base model](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#base-model), which continues text and was not trained for calls.
# A [function call](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#function-call) is written in the same [tokens](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#token) by both, and their [prompts](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#prompt) are the same.
# What follows holds for either; where they differ, the text is made from what was measured.

# %% [markdown]
# ## 0.2 · One request, five dialects
#
# A function-calling model gets two things: a request, and the tools that it may call. Here is one tool.

# %%
import json

get_weather = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "City name in Arabic"}},
            "required": ["city"],
        },
    },
}

# %% [markdown]
# And here is the same wish in five dialects. Each asks about Jeddah's weather as people there would type it.

# %%
requests = {
    "msa": "ما حالة الطقس في جدة الآن؟",
    "egyptian": "الجو عامل إيه في جدة دلوقتي؟",
    "gulf": "وش أخبار الجو في جدة الحين؟",
    "levantine": "كيف الطقس بجدة هلق؟",
    "maghrebi": "كيفاش الجو فجدة دابا؟",
}
for dialect, text in requests.items():
    print(f"{dialect:10} {text}")

# %% [markdown]
# ## 0.3 · What the model reads
#
# The request and the tool become one text. FunctionGemma has tokens of its own for this: `<start_function_declaration>` opens
# a tool, `<escape>` stands before and after every string, `<start_of_turn>` and `<end_of_turn>` mark who speaks.

# %%
from helpers import chat


def prompt_for(text):
    messages = [{"role": "developer", "content": chat.DEVELOPER_PROMPT}, {"role": "user", "content": text}]
    return chat.render(messages, tools=[get_weather], add_generation_prompt=True)


print(prompt_for(requests["msa"]))

# %% [markdown]
# The prompt ends where the model's [turn](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#turn) begins. What we hope to read next is this, and nothing else:

# %%
from helpers import calls

wanted = calls.FunctionCall("get_weather", {"city": "جدة"})
print(calls.serialize([wanted]) + "<start_function_response>")

# %% [markdown]
# It looks a little like JSON and is not: the key is bare, and the string stands between two `<escape>` tokens. The last token
# says "now run the tool and tell me what it returned". It is where generation stops.
#
# **Your bet:** in how many of the five dialects will the model write a valid call?

# %%
from helpers import exercises

bet = exercises.bet("baseline-calls", "valid calls among five dialects", low=0, high=5, step=1, unit="calls")

# %% [markdown]
# ## 0.4 · Run it
#
# We load the model as it is, with no training, and let it write up to 40 tokens for each request. Decoding is [greedy](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#greedy-decoding): at
# every step the most probable token is taken.

# %% tags=["nbval-ignore-output"]
from helpers import checkpoints, generation

tokenizer = checkpoints.load_tokenizer(checkpoint)
model = checkpoints.load_model(checkpoint)
prompts = [prompt_for(text) for text in requests.values()]
generations = generation.generate_texts(model, tokenizer, prompts, max_new_tokens=40)

# %% tags=["nbval-ignore-output"]
for dialect, g in zip(requests, generations):
    print(f"{dialect:10} stopped by {g.stopped_by}\n    {g.text[:110]!r}")

# %% [markdown]
# Read them before you count them. A base model continues text: it repeats the instruction, the [tool's declaration](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#tool-declaration) or the request.
# It does not know that a call is wanted, because nobody has shown it one. A model trained for calls tries one, and may still get it wrong.
#
# Now count. `calls.parse` returns the calls in a text, `[]` when it is plain text, and raises `ParseError` with a position and a
# reason when [control tokens](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#control-token) are there but do not form a call.

# %%
def valid_calls(text):
    try:
        return len(calls.parse(text))
    except calls.ParseError:
        return 0


found = sum(valid_calls(g.text) == 1 for g in generations)
print(f"{found} of {len(generations)} requests got one valid call")
if checkpoint.name == "gemma-3-270m":
    assert found == 0, "the base model has learned to call functions on its own"

# %% [markdown]
# A valid call is not yet a right one. Is it the function that was declared, with the city that was asked about?

# %% tags=["nbval-ignore-output"]
def is_right(text):
    try:
        call, = calls.parse(text)
    except (calls.ParseError, ValueError):
        return False
    return call == wanted


right = sum(is_right(g.text) for g in generations)
print(f"{checkpoint.name}: {found} of {len(generations)} requests got one valid call, {right} the call that was wanted")
print("Nobody has trained this model to call." if found == 0 else "This model calls already.", "Notebook 04 trains it for a few minutes and counts again.")

# %% [markdown]
# A word on fairness. A published evaluation of FunctionGemma on Arabic requests reports that 87 % of its answers could not be
# parsed before fine-tuning (AISA-AR-FunctionCall, arXiv 2603.16901). Another found 72 % of the function names right when the
# prompt was made exactly as the model expects it (Sa74ll, 200 rows of `Sa74ll/arabic-mobile-actions`). The prompt is part of the
# measurement, so this course makes every prompt with one function, `chat.render`, compared byte for byte with the official
# [template](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#chat-template)'s output.

# %% [markdown]
# ## 0.5 · The map: what the guide claims
#
# These statements of the guide can be checked. Some questions are ours: readers meet them, and the guide is silent. The table is drawn from the
# [ledger](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#ledger), `assets/claims.yaml`; each row is settled by one cell of one notebook. The guide's words
# are quoted; what was measured is the sentence on that notebook's card.

# %% tags=["nbval-ignore-output"]
from helpers import claims

ledger = claims.table()
print(f"{claims.of_the_guide()} claims of the guide and {len(ledger) - claims.of_the_guide()} questions of ours, {(ledger['verdict'] != 'not settled yet').sum()} settled in the notebooks")
styled = ledger.drop(columns=["section", "we test"]).style.format(escape="html").format(claims.link, subset=["notebook"])
styled.set_properties(**{"text-align": "left"}).set_uuid("ledger")

# %% [markdown]
# | notebook | the guide's section | you leave able to |
# |---|---|---|
# | 00 start here | – | run the model, read the map |
# | 01 architecture probes | 1 | derive attention, norms and the cache, and prove each on the live model |
# | 02 LoRA mathematics | 2 | build a LoRA layer, read what training writes, judge rank and α |
# | 03 memory surgery | 3 | account for every byte of a training step |
# | 04 masked training run | 4 | mask, train, and score before and after |
# | 05 GGUF export | 5 | export, quantize and run the model in llama.cpp |

# %% [markdown]
# ## 0.6 · Place your first bets
#
# A prediction that was written down teaches more than one that was only thought. Place these three now; the notebooks named in
# brackets settle them.

# %%
stop_bet = exercises.bet("stop-token", "[04] which token ends a turn that calls a function?", options=["<end_of_turn>", "<start_function_response>", "<eos>"])
json_bet = exercises.bet("json", "[04] of 100 correct calls, how many does json.loads read?", low=0, high=100, step=1, unit="calls")
exact_bet = exercises.bet("exact-after", "[04] exact calls after a few minutes of training", low=0, high=100, step=5, unit="%")

# %% [markdown]
# ## 0.7 · Exercises

# %% [markdown]
# <!-- exercise 0.1 -->
# **Exercise 0.1 · Write a call by hand** (★☆☆, 5 minutes)
#
# Write `write_call(name, arguments)` for strings and numbers, without the helper. Keys are bare and sorted; only strings stand between two `<escape>` tokens.
#
# <details><summary>Hint 1</summary>
#
# Build each pair on its own: `f'{key}:{value}'`, and join them with commas.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `sorted(arguments.items())` gives the pairs in the template's order; `isinstance(value, str)` tells which to escape.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def write_call(name, arguments):
#     def value(v):
#         return f'<escape>{v}<escape>' if isinstance(v, str) else str(v)
#
#     pairs = ','.join(f'{k}:{value(v)}' for k, v in sorted(arguments.items()))
#     return '<start_function_call>call:' + name + '{' + pairs + '}<end_function_call>'
# ```
#
# </details>

# %%
def write_call(name, arguments):
    ...


exercises.check("0.1", write_call)

# %% [markdown]
# <!-- exercise 0.2 -->
# **Exercise 0.2 · Does the call fit?** (★★☆, 10 minutes)
#
# A model's call is text from a stranger. Before it runs, it is held against the declaration. Write `bad_arguments(arguments, schema)`: the sorted names of all arguments that are undeclared, that are required and missing, or whose type is not the declared one. `schema` is what section 0.2 has under `parameters`; the types are `string` and `integer`.
#
# <details><summary>Hint 1</summary>
#
# Undeclared is what is in `arguments` and not in `schema['properties']`; missing is what is in `schema['required']` and not in `arguments`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `type(value) is int` tells an integer from a boolean; `isinstance` does not. In a program use `jsonschema`, as `helpers.dispatch` does.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def bad_arguments(arguments, schema):
#     types = {'string': str, 'integer': int}
#     declared = schema['properties']
#     missing = [name for name in schema['required'] if name not in arguments]
#     unknown = [name for name in arguments if name not in declared]
#     wrong = [n for n, v in arguments.items() if n in declared and type(v) is not types[declared[n]['type']]]
#     return sorted(missing + unknown + wrong)
# ```
#
# </details>

# %%
def bad_arguments(arguments, schema):
    ...


exercises.check("0.2", bad_arguments)

# %% [markdown]
# <!-- exercise 0.3 -->
# **Exercise 0.3 · Find the stop** (★☆☆, 5 minutes)
#
# An engine that works on a whole batch goes on until its last row is done, so a row's ids may hold more than its answer. Write `until_stop(ids, stop_ids)`: a pair of the ids up to and including the first one that is a stop token, and that token. Without one: all ids, and `None`.
#
# <details><summary>Hint 1</summary>
#
# Go through the ids, not through the stop tokens: what counts is which comes first in the text.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `next((i for i, token in enumerate(ids) if token in stop_ids), None)` is the place, or `None`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def until_stop(ids, stop_ids):
#     end = next((i for i, token in enumerate(ids) if token in stop_ids), None)
#     if end is None:
#         return ids, None
#     return ids[: end + 1], ids[end]
# ```
#
# </details>

# %%
def until_stop(ids, stop_ids):
    ...


exercises.check("0.3", until_stop)

# %% [markdown]
# <!-- exercise 0.4 -->
# **Exercise 0.4 · What five requests can say** (★★☆, 10 minutes)
#
# Five requests, no valid call. Is the true rate zero? Write `wilson(hits, n)`: the two ends of Wilson's 95 % interval, with p = hits/n and z = 1.96,
#
# $$\frac{p + \frac{z^2}{2n} \pm z\sqrt{\frac{p(1-p)}{n} + \frac{z^2}{4n^2}}}{1 + \frac{z^2}{n}}.$$
#
# Then try `wilson(0, 5)`. It stands beside most rates of this course.
#
# <details><summary>Hint 1</summary>
#
# Compute the middle, `p + z*z/(2*n)`, and the reach, `z * (p*(1-p)/n + z*z/(4*n*n)) ** 0.5`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Both are divided by `1 + z*z/n`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def wilson(hits, n):
#     p, z = hits / n, 1.96
#     middle = p + z * z / (2 * n)
#     reach = z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
#     return (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n)
# ```
#
# </details>

# %%
def wilson(hits, n):
    ...


exercises.check("0.4", wilson)

# %% [markdown]
# ## 0.8 · Recap
#
# Your bet beside the measurement. Bets are kept in a small file on this machine and sent nowhere.

# %%
exercises.recap({"baseline-calls": found})

# %% [markdown]
# **Quiz 1.** A base model reads the prompt above and writes no call. Why?
#
# <details><summary>A · It does not understand Arabic.</summary>
#
# One such run cannot show that. Gemma 3 270M continues Arabic sentences sensibly; given this prompt it repeats what stands there.
#
# </details>
# <details><summary>B · Nobody has trained it to answer with a call.</summary>
#
# Yes. The control tokens are in its vocabulary, but a base model has never seen them used. Notebook 04 shows them to it.
#
# </details>
# <details><summary>C · The prompt was malformed.</summary>
#
# It is a good suspicion: a wrong prompt alone can cost most of the score. Here it is byte-identical to the official template's.
#
# </details>
#
# **Quiz 2.** A call ends with `<start_function_response>`. Who writes next?
#
# <details><summary>A · The model: it knows what the tool will say.</summary>
#
# It does not. If nobody stops it, it writes on in the tool's place; notebook 04 lets it.
#
# </details>
# <details><summary>B · The program: it runs the tool and puts the result there.</summary>
#
# Yes. The token hands the turn over, and the model goes on when the result stands in it.
#
# </details>
# <details><summary>C · The user, in a turn of their own.</summary>
#
# A user's turn can begin only when the model's has been closed with `<end_of_turn>`. A call does not close it.
#
# </details>
#
# **Quiz 3.** Suppose a model writes no valid call for five requests. What does that say about its rate on requests like these?
#
# <details><summary>A · It is zero.</summary>
#
# Five requests cannot show that. Exercise 0.4 gives the interval: a model that is right two times in five still misses five in a row one time in thirteen.
#
# </details>
# <details><summary>B · Nothing, five are too few.</summary>
#
# They are too few for a small rate, and enough against a large one: a model that is right nine times in ten does not miss five in a row.
#
# </details>
# <details><summary>C · It is likely to be small, and how small is open.</summary>
#
# Yes. An interval says how open. So this course trains and compares with many more rows than five.
#
# </details>
#
# **Next:** [01 · Architecture probes](01_architecture_probes.ipynb). **To read:** *FunctionGemma formatting and best
# practices* (Google AI for Developers); *Gemma 3 Technical Report* (arXiv 2503.19786).
#
# The weights are provided under and subject to the [Gemma Terms of Use](https://ai.google.dev/gemma/terms).
