# %% [markdown]
# # 00 · Start here: a small model, an Arabic request, and a guide's claims
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/arabic-functiongemma-course/blob/main/notebooks/00_start_here.ipynb)
#
# **After this notebook you can** run a model of 270 million parameters on one Arabic request in five dialects, say
# precisely what it gets right and wrong, read FunctionGemma's call format, and choose where to go from here.
#
# <div dir="rtl" lang="ar">
#
# هل يردّ نموذج صغير على طلبٍ عربي باستدعاءٍ سليم للدالة، قبل أن ندرّبه نحن؟<br>
# نرسل إليه الطلب نفسه بالفصحى وبأربع لهجات، ونعدّ الأجوبة التي فيها استدعاء سليم الصياغة، ونضع بجانب العدد فترة الثقة.<br>
# بعد هذا الدفتر تستطيع أن تقرأ صيغة الاستدعاء في <bdi dir="ltr">FunctionGemma</bdi>، وأن تقول أين أصاب النموذج وأين أخطأ، وأن تختار إلى أي دفترٍ تمضي.
#
# </div>
#
# **You need** Python and a little PyTorch. **Time**: 2 minutes on two CPU cores. **Memory**: 5 GB.
# On Colab a T4 is asked for. The time has not been measured on a T4; with the installation we guess 3 minutes.
#
# Sections 0.1 to 0.6 are the core: plan 20 minutes with reading and bets. What is marked *(deeper)* can wait.
#
# This course follows *The Master Guide: Arabic FunctionGemma & Unsloth Optimization* section by section. It tests what
# the guide says, on the real model and with the real libraries. Each claim ends in a card: the guide says, we
# measured, verdict. Some claims hold, some need a correction, some do not hold. You bet before most cards.
#
# Terms are explained in the course's [glossary](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md), in English and Arabic.

# %% [markdown]
# ## 0.1 · Setup
#
# The setup cell is the same in all notebooks. On Colab it fetches the course and installs what is missing. In a clone it
# only imports. It shows the versions, the device and the model in use.
#
# It finds the course wherever it is: around this notebook, in any zip beside it, in Drive once it is mounted, among
# Kaggle's inputs, or at the address in its first line. On Colab each notebook has a machine of its own. To keep the
# model, your bets and your cards from one notebook to the next, mount Drive first. Then set two environment variables:
# `COURSE_CACHE` to a folder there, and `COURSE_BETS` to a file there.

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
# The line *model* says which model this is. Two are possible. With a GPU and the Hugging Face hub in reach it is **FunctionGemma
# 270M**, which Google trained to call functions (its model card, `google/functiongemma-270m-it`). Otherwise it is
# **Gemma 3 270M**, the [base model][g-base-model]: it continues text, and nobody has trained it to call anything. Its
# weights come from a package in the format Q4_K_M, which rounds them (notebook 05). The outputs that the notebook is stored with are this model's.
#
# Both read the same tokens and get the same prompts. What follows holds for either. Where the two differ, the cells
# print what they measured on yours.
#
# [g-base-model]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#base-model

# %% [markdown]
# ## 0.2 · One request, five dialects
#
# A model that calls functions gets two things: a request, and the functions that it may call. These are its *tools*.
# A tool is declared as JSON: its name, what it is for, and the arguments that it takes. Here is one.

# %%
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
# And here is one wish in five dialects, as people there would type it. In English it is "What is the weather in Jeddah
# now?" each time. Jeddah, <bdi>جدة</bdi>, is in all five, twice with a short preposition written onto it. Most of the
# rest changes: five ways to ask, five words for *now*, two for *weather*.

# %%
from helpers import plots

requests = {
    "msa": "ما حالة الطقس في جدة الآن؟",
    "egyptian": "الجو عامل إيه في جدة دلوقتي؟",
    "gulf": "وش أخبار الجو في جدة الحين؟",
    "levantine": "كيف الطقس بجدة هلق؟",
    "maghrebi": "كي داير الجو فجدة دابا؟",
}
word_for_word = {
    "msa": "What is the state of the weather in Jeddah now?",
    "egyptian": "The weather, how is it doing in Jeddah now?",
    "gulf": "What is the news of the weather in Jeddah now?",
    "levantine": "How is the weather in Jeddah now?",
    "maghrebi": "How is the weather going in Jeddah now?",
}
table = [{"dialect": d, "request": requests[d], "in English": word_for_word[d]} for d in requests]
plots.text_table(table)

# %% [markdown]
# **Your first bets.** A prediction that was written down teaches more than one that was only thought. Place three, before
# you have seen anything of the format.
#
# 1. We send each of the five requests, with the tool, to the model as it is. How many answers will hold a valid call?
# 2. Suppose a model writes correct calls, and you hand them to Python's `json.loads`. How many of them can it read?
#    Notebook 04 counts.
# 3. A *call turn* is what the model writes when it calls a function. After some token it must stop. Three could do it:
#    `<end_of_turn>`, `<start_function_response>` and `<eos>`, the end of the text. Section 0.5 shows which, notebook 04 counts.

# %%
from helpers import exercises

counts = ["0", "1", "2", "3", "4", "5"]
bet_calls = exercises.bet("baseline-calls", "valid calls among five answers", options=counts)
portions = ["none", "fewer than half", "half or more", "all"]
bet_json = exercises.bet("json", "how many correct calls does json.loads read?", options=portions)
tokens = ["<end_of_turn>", "<start_function_response>", "<eos>"]
bet_stop = exercises.bet("stop-token", "which token ends a call turn?", options=tokens)

# %% [markdown]
# ## 0.3 · What the model reads
#
# A language model reads one text and nothing else. So the request and the tool are written into one text, the *prompt*,
# by a [chat template][g-chat-template]. FunctionGemma has [control tokens][g-control-token] for the parts: single
# tokens that are kept for this alone. They are underlined here.
#
# Watch for three things. A `developer` speaks first and declares the tool between `<start_function_declaration>` and its
# end. Every string stands between two `<escape>` tokens. The text breaks off where the model's turn begins: what comes
# next is the model's to write.
#
# [g-chat-template]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#chat-template
# [g-control-token]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#control-token

# %%
from helpers import chat
from helpers.figures import notebook_00


def prompt_for(request, before=(), tools=(get_weather,)):
    """The prompt for a request: what may be called, what was said before, what is asked now."""
    developer = {"role": "developer", "content": chat.DEVELOPER_PROMPT}
    asked = {"role": "user", "content": request}
    return chat.render([developer, *before, asked], tools=list(tools), add_generation_prompt=True)


notebook_00.shown(prompt_for(requests["msa"]))

# %% [markdown]
# The prompt is part of every measurement, so this course makes all prompts with that one function, `chat.render`. Its
# output is compared byte for byte with the official template's.
#
# And this is what we hope to read in answer, to each of the five requests:

# %%
from helpers import calls

wanted = calls.FunctionCall("get_weather", {"city": "جدة"})
notebook_00.shown(calls.serialize([wanted]))

# %% [markdown]
# ## 0.4 · Run it
#
# We load the model as it is, without training, and let it write up to 40 tokens for each request. Decoding is
# [greedy][g-greedy-decoding]: at every step the most probable token is taken. So a second run on the same machine gives the same text.
#
# [g-greedy-decoding]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#greedy-decoding

# %% tags=["nbval-ignore-output"]
from helpers import checkpoints, generation

tokenizer = checkpoints.load_tokenizer(checkpoint)
model = checkpoints.load_model(checkpoint)
prompts = [prompt_for(text) for text in requests.values()]
generations = generation.generate_texts(model, tokenizer, prompts, max_new_tokens=40)

# %% [markdown]
# How shall we judge an answer? Not by eye. `calls.parse` returns the calls in a text, and an empty list when there is none.
# It raises `ParseError`, with the reason, when control tokens are there but do not form a call. A valid call is not yet
# a right one: it may name another function or another city. So there are four outcomes.

# %% tags=["nbval-ignore-output"]
def outcome(text):
    try:
        found = calls.parse(text)
    except calls.ParseError:
        return "unreadable"
    if not found:
        return "no call"
    return "right call" if found == [wanted] else "other call"


outcomes = [outcome(g.text) for g in generations]
notebook_00.answers(requests, generations, outcomes)

# %% [markdown]
# Read the five answers before you count them. Are they Arabic? Are control tokens among them, or only words that look
# alike? Does a model that goes wrong go wrong in the same way each time? A text that ran into the limit of 40 tokens
# would have gone on.
#
# Now the count, and what it is worth. Five requests are few, so an interval stands beside it: all rates at
# which such a count would be no surprise.

# %% tags=["nbval-ignore-output"]
from helpers import scoring

found = sum(kind in ("right call", "other call") for kind in outcomes)
right, asked = outcomes.count("right call"), len(outcomes)
low, high = scoring.wilson(found, asked)
print(f"{checkpoint.name}: {found} of {asked} answers hold a valid call, {right} the right one")
print(f"95 % interval of the rate: {low:.0%} to {high:.0%}")
trained = "This model calls already." if found else "This model does not call yet."
print(trained, "Notebook 04 trains it and counts again.")
if checkpoint.name == "gemma-3-270m":
    assert found == 0, "the base model has learned to call functions on its own"

# %% [markdown]
# Two published numbers suggest how much may hang on the prompt. One
# [evaluation of FunctionGemma in Arabic](https://arxiv.org/abs/2603.16901) (arXiv 2603.16901) reports that 87 % of the
# model's answers could not be parsed before fine-tuning. Another, on 200 rows of
# [Sa74ll/arabic-mobile-actions](https://huggingface.co/datasets/Sa74ll/arabic-mobile-actions), found 72 % of the
# function names right: there the prompt was made exactly as the model expects it. They count different things, on
# different requests, so the prompt is only one of the possible reasons. We cite both and have repeated neither.

# %% [markdown]
# ## 0.5 · The loop around the model
#
# A model writes text. It runs nothing. Whoever wants the weather needs a program around the model, which reads the
# call, checks it, runs the function, and puts the result back into the text. Then the model goes on, now with the
# result before its eyes. So for one question of a user the model writes twice.

# %%
from helpers.figures import diagrams

finding = "The model writes a call and stops; the program runs it and writes the result."
plots.show(diagrams.call_loop(), f"{finding} Then the model replies.")

# %% [markdown]
# Here is the program's half, for the call that we hoped for. `dispatch` refuses what was not declared and arguments that
# do not fit, before anything runs. The function is ours, and its answer is made up.
#
# The cell shows the text that the model reads next. Find the token right after `<end_function_call>`: it answers your
# third bet. This token opens the tool's result, and the model stops once it has written the token.

# %%
from helpers import dispatch

written = calls.serialize([wanted])
(result,) = dispatch.dispatch(written, [get_weather], {"get_weather": lambda city: {"degrees": 34}})
call = {"function": {"name": result.call.name, "arguments": result.call.arguments}}
turns = [
    {"role": "developer", "content": chat.DEVELOPER_PROMPT},
    {"role": "user", "content": requests["msa"]},
    {"role": "assistant", "tool_calls": [call]},
    {"role": "tool", "name": result.call.name, "content": result.value},
]
notebook_00.shown(chat.render(turns, tools=[get_weather]))

# %% [markdown]
# ## 0.6 · The map: what the guide claims
#
# One more bet before the map, on the course's own training run. Notebook 04 trains the model: minutes, on slow cores a quarter of an hour. An *exact* call
# names the right function and has every argument right.

# %%
question = "exact calls after notebook 04's training, on wordings that are new to it"
bet_exact = exercises.bet("exact-after", question, low=0, high=100, step=1, unit="%")

# %% [markdown]
# The guide has five sections, and each has its own notebook. Any of the five can be opened first. Those who want the
# whole story go in order.

# %%
finding = "Each section of the guide is tested by the notebook beside it."
plots.show(diagrams.course_map(), f"{finding} This notebook comes first.")

# %% [markdown]
# Not all claims can be settled in the same way, and the difference matters for how much you should believe.
#
# - **Measured by you**: your machine measures it while you watch.
# - **Stored result**: it took a GPU or hours. We stored what every run wrote, and your machine recomputes the figure.
# - **Identity**: it follows from a formula, or from how the model is built. That settles it, for the guide or against
#   it. Computing it shows that it was understood rightly, and adds no evidence.

# %% tags=["nbval-ignore-output"]
from helpers import claims

agenda = claims.agenda()
plots.show(*notebook_00.claims_by_notebook(agenda))

# %% [markdown]
# And these are the claims. The guide's words are quoted. Some questions are ours: readers ask them, and the guide is silent.
# There is no measurement here yet: the last column fills with your own cards, as you run the notebooks. Come back and
# run this cell again. All results stand in `docs/ledger.md`, for those who would rather not bet.

# %% tags=["nbval-ignore-output"]
guides = claims.of_the_guide()
done = (agenda["your card"] != "").sum()
print(f"{guides} claims of the guide, {len(agenda) - guides} questions of ours")
print(f"{done} of them settled by you so far")
notebook_00.agenda_table(agenda, claims.link)

# %% [markdown]
# ## 0.7 · Exercises (deeper)
#
# Each asks for a prediction first, then for a few lines. In all but 0.3 one more cell then runs what you wrote on the
# model that is loaded. It does nothing until the exercise has an answer.

# %% [markdown]
# <!-- exercise 0.1 -->
# **Exercise 0.1 · Show it one** (★★☆, 15 minutes)
#
# A large model that is shown one example often goes on in the same way. Does this one? Write `example_turns(request, city)`: four messages that show one request answered from beginning to end. The user asks, the assistant calls `get_weather`, the tool returns its result, the assistant replies in words. Before you run the cell after it, write down how many of the five answers will be valid calls, and for which city.
#
# <details><summary>Hint 1</summary>
#
# The roles are `user`, `assistant`, `tool`, `assistant`. A call is no text: it stands under `tool_calls`, as `[{"function": {"name": …, "arguments": {…}}}]`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A tool's message has a `name`, that of the function, and a mapping as `content`, such as `{"degrees": 21}`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def example_turns(request, city):
#     call = {"function": {"name": "get_weather", "arguments": {"city": city}}}
#     return [
#         {"role": "user", "content": request},
#         {"role": "assistant", "tool_calls": [call]},
#         {"role": "tool", "name": "get_weather", "content": {"degrees": 21}},
#         {"role": "assistant", "content": f"{city}: 21"},
#     ]
# ```
#
# </details>

# %%
def example_turns(request, city):
    ...


exercises.check("0.1", example_turns)

# %% tags=["nbval-ignore-output"]
if example := example_turns("ما حالة الطقس في الرباط الآن؟", "الرباط"):  # the weather in Rabat
    longer = [prompt_for(text, before=example) for text in requests.values()]
    answers = generation.generate_texts(model, tokenizer, longer, max_new_tokens=40)
    display(notebook_00.answers(requests, answers, [outcome(g.text) for g in answers]))

# %% [markdown]
# Look at two things. Does the model write the control tokens, or words around them? And whose city stands in its answer,
# Jeddah's or that of the example, Rabat (<bdi>الرباط</bdi>)?

# %% [markdown]
# <!-- exercise 0.2 -->
# **Exercise 0.2 · Add a tool** (★★☆, 10 minutes)
#
# Write `prayer_tool()`: the declaration of a second function, `get_prayer_time`, in the form of `get_weather` in section 0.2. It takes a `city`, which is required, and a `prayer`, which may be left out and is one of fajr, dhuhr, asr, maghrib and isha. Before you run the cell after it, write down how many tokens it adds to the prompt, and whether the model will still choose the right tool for the weather.
#
# <details><summary>Hint 1</summary>
#
# A choice of words is a `string` with an `enum`. What may be left out is not in `required`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The prompt shows `STRING` and `OBJECT`, because the template writes them so. In JSON Schema types are in small letters.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def prayer_tool():
#     prayers = ["fajr", "dhuhr", "asr", "maghrib", "isha"]
#     properties = {
#         "city": {"type": "string", "description": "City name in Arabic"},
#         "prayer": {"type": "string", "description": "Which prayer", "enum": prayers},
#     }
#     function = {
#         "name": "get_prayer_time",
#         "description": "Get the time of a prayer in a city.",
#         "parameters": {"type": "object", "properties": properties, "required": ["city"]},
#     }
#     return {"type": "function", "function": function}
# ```
#
# </details>

# %%
def prayer_tool():
    ...


exercises.check("0.2", prayer_tool)

# %% tags=["nbval-ignore-output"]
if second := prayer_tool():
    both = [prompt_for(text, tools=(get_weather, second)) for text in requests.values()]
    lengths = [len(tokenizer(p, add_special_tokens=False).input_ids) for p in (prompts[0], both[0])]
    print(f"{lengths[0]} tokens become {lengths[1]}, {lengths[1] - lengths[0]} more for one tool")
    answers = generation.generate_texts(model, tokenizer, both, max_new_tokens=40)
    display(notebook_00.answers(requests, answers, [outcome(g.text) for g in answers]))

# %% [markdown]
# <!-- exercise 0.3 -->
# **Exercise 0.3 · Does the call fit?** (★★☆, 10 minutes)
#
# A model's call is text from a stranger. Before it runs, it is held against the declaration. Write `bad_arguments(arguments, schema)`: the sorted names of all arguments that are undeclared, that are required and missing, or whose type is not the declared one. `schema` is what section 0.2 has under `parameters`; the types are `string` and `integer`. Which fault will you forget? The check knows five.
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


exercises.check("0.3", bad_arguments)

# %% [markdown]
# <!-- exercise 0.4 -->
# **Exercise 0.4 · How many requests are enough?** (★★☆, 10 minutes)
#
# Suppose a model answers a share `rate` of such requests with a call. Write `requests_needed(rate)`: the smallest number of requests for which "not one call among them" happens at most one time in twenty. Guess it for a rate of one in ten before you run it. The cell after it then takes that many requests of the test set, in all domains, and asks the model.
#
# <details><summary>Hint 1</summary>
#
# A request gets no call with probability `1 - rate`, and `n` of them in a row with `(1 - rate) ** n`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Count `n` up from 1 until that is at most 0.05. A logarithm does it too, rounded up.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def requests_needed(rate):
#     n = 1
#     while (1 - rate) ** n > 0.05:
#         n += 1
#     return n
# ```
#
# </details>

# %%
def requests_needed(rate):
    ...


exercises.check("0.4", requests_needed)

# %% tags=["nbval-ignore-output"]
if n := requests_needed(0.1):
    from helpers import dataset

    rows = dataset.load("test", tools_per_row=1).to_list()
    rows = [row for row in rows if row["kind"] == "single"][:n]
    answers = generation.generate(model, tokenizer, rows, max_new_tokens=40)
    hits = sum(outcome(g.text) in ("right call", "other call") for g in answers)
    low, high = scoring.wilson(hits, n)
    print(f"{hits} of {n} answers hold a valid call; 95 % interval {low:.0%} to {high:.0%}")

# %% [markdown]
# ## 0.8 · Recap
#
# Your bet beside the measurement. Bets are kept in a small file on this machine and sent nowhere. Section 0.5 has
# answered the third; notebook 04 settles all but the first.

# %%
exercises.recap({"baseline-calls": found})

# %% [markdown]
# **Quiz 1.** A base model reads the prompt above and writes no call. Why?
#
# <details><summary>A · It does not understand Arabic.</summary>
#
# One such run cannot show that. Gemma 3 270M continues Arabic sentences sensibly; given this prompt it repeats what
# stands there.
#
# </details>
# <details><summary>B · Nobody has trained it to answer with a call.</summary>
#
# Yes. The control tokens are in its vocabulary, but a base model has never seen them used. Notebook 04 shows them to it.
#
# </details>
# <details><summary>C · The prompt was malformed.</summary>
#
# It is a good suspicion: a wrong prompt alone can cost most of the score. Here it is byte-identical to the official
# template's.
#
# </details>
#
# **Quiz 2.** The model has written a call and stopped. Who writes next?
#
# <details><summary>A · The model: it knows what the tool will say.</summary>
#
# It does not. If nobody stops it, it writes on in the tool's place; notebook 04 lets it.
#
# </details>
# <details><summary>B · The program: it runs the tool and puts the result there.</summary>
#
# Yes. The last token hands over to the program, and the model goes on when the result stands in the text.
#
# </details>
# <details><summary>C · The user, in a turn of their own.</summary>
#
# A user's turn can begin only when the model's has been closed with `<end_of_turn>`. A call does not close it.
#
# </details>
#
# **Quiz 3.** Suppose a model writes no valid call for five requests. What does that say about its rate on requests like
# these?
#
# <details><summary>A · It is zero.</summary>
#
# Five requests cannot show that. A model that is right two times in five still misses five in a row one time in
# thirteen. Exercise 0.4 counts how many requests it takes.
#
# </details>
# <details><summary>B · Nothing, five are too few.</summary>
#
# They are too few for a small rate, and enough against a large one: a model that is right nine times in ten does not
# miss five in a row.
#
# </details>
# <details><summary>C · It is probably not high, and how low is open.</summary>
#
# Yes. An interval says how open: with five rows it stays wide. So this course trains and compares with many more rows than five.
#
# </details>

# %% [markdown]
# **What to do now.**
#
# | you want to | open | you leave able to |
# |---|---|---|
# | understand the model | [01 · Architecture probes](01_architecture_probes.ipynb) | derive attention, norms and the cache, and prove each on the live model |
# | understand fine-tuning | [02 · LoRA mathematics](02_lora_mathematics.ipynb) | build a LoRA layer, read what training writes, judge rank and α |
# | fit it on your GPU | [03 · Memory surgery](03_memory_surgery.ipynb) | account for every byte of a training step |
# | train it, now | [04 · Masked training run](04_masked_training_run.ipynb) | mask, train, and score before and after |
# | put it on a phone | [05 · GGUF export](05_gguf_export.ipynb) | export, quantize and run the model in llama.cpp |
# | have it call *your* functions | [06 · Now yours](06_now_yours.ipynb) | train it on your requests, keep it, carry it away as one file |
#
# **Next:** [01 · Architecture probes](01_architecture_probes.ipynb). **To read:** *FunctionGemma formatting and best
# practices* (Google AI for Developers); *Gemma 3 Technical Report* (arXiv 2503.19786).
#
# The weights are provided under and subject to the [Gemma Terms of Use](https://ai.google.dev/gemma/terms).
