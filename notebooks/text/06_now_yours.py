# %% [markdown]
# # 06 · Now yours: from Python functions to a model in a file
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/arabic-functiongemma-course/blob/main/notebooks/06_now_yours.ipynb)
#
# **After this notebook you can** train a model that calls *your* functions, say how well it does on requests that it has not seen, put it into a loop that runs what it calls, keep it with a card, and carry it away as
# one file that answers without the course.
#
# <div dir="rtl" lang="ar">
#
# كيف تجعل النموذج يستدعي دوالّك أنت، وكيف تعرف أنه تعلّمها ولم يحفظ جُمَلك فحسب؟<br>
# تكتب دوالّك وطلباتٍ لها، وتدرّب النموذج على بعض الطلبات، ثم تعدّ الاستدعاءات المطابقة فيما لم يره منها، وتعدّ ما نسيه من أدوات الدورة.<br>
# بعد هذا الدفتر تستطيع أن تضع النموذج في حلقةٍ تنفّذ ما يستدعيه، وأن تحفظه ومعه بطاقة تصفه، وأن تخرج به في ملفٍّ واحد يعمل بلا حاجة إلى هذه الدورة.
#
# </div>
#
# **You need** functions with docstrings and some thirty requests. As long as you have none, a pottery studio lends you its own. No other notebook has to be run first.
#
# **Time**: 21 minutes on two CPU cores. **Memory**: 8 GB. On Colab a T4 is asked for. The time has not been measured on a T4; we guess 5 minutes.
#
# It tests no claim of the guide. It does what the guide is for. **The core** is all but the end of section 6.9: about 35 minutes of reading and betting.
#
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
# ## 6.1 · Your functions
#
# A model reads a *declaration*: a name, a description, and what each argument means. Python has all three: the function's name, its docstring, its type hints. These three functions belong to a pottery studio, and no
# tool of the course is like them. Put yours in their place. What is yours to change stands below a line `# YOURS`: twice here, once in 6.2, and once in 6.7. All else runs as it is.
#
# Three rules hold for a function. It returns a mapping of plain values: text, numbers, true or false, and no `None`. It stands on its own, because section 6.9 copies its text into a file: imports belong
# inside it, and its type hints are Python's own, such as `int`, `list[str]` or `dict[str, int]`. A bare `dict` will not do: a call may hold only what is declared. And it may be run for a trial, because this notebook runs it several times: let it say what it would book, and book nothing yet.

# %%
# YOURS: the functions
def book_wheel(hours: int, day: str, beginner: bool = False):
    """Book a pottery wheel.

    Args:
        hours: For how many hours
        day: The day of the week, as it is said
        beginner: Whether somebody is to help
    """
    return {"booked": f"{day}, {hours} h", "help": beginner}


def order_clay(kilos: float, color: str):
    """Order clay.

    Args:
        kilos: How many kilograms
        color: The colour (choices: ["white", "red", "black"])
    """
    return {"kilos": kilos, "color": color, "arrives": "الأحد"}


def fire_kiln(pieces: int, degrees: int):
    """Fire pieces in the kiln.

    Args:
        pieces: How many pieces
        degrees: The temperature in degrees Celsius
    """
    return {"pieces": pieces, "degrees": degrees, "ready_in_hours": 9}

# %% [markdown]
# `as_tools` reads them. Here is what the model is told about the first two. `studio` keeps in mind whether the studio's functions are still among them: a request that only they could serve is asked only then.

# %%
from helpers.schemas import as_tools

# YOURS: the list of them, and a name for the model that you train
functions = [book_wheel, order_clay, fire_kiln]
NAME = "pottery-gemma"

tools = as_tools(functions).declarations
studio = {"book_wheel", "order_clay", "fire_kiln"} <= {one.__name__ for one in functions}
[tool["function"] for tool in tools[:2]]

# %% [markdown]
# The description of `beginner` says *whether somebody is to help*, and the requests will say *it is my first time*. That is what a description is for: it names the meaning, not the words. The `choices` of a docstring become an
# `enum`, and an argument with a default is not `required`. The function's own code the model never sees.
#
# What happens with a function that explains nothing?

# %%
from helpers.errors import CourseError


def glaze(bowl, colour):
    return "glazed"


try:
    as_tools([glaze])
except CourseError as error:
    print(error)

# %% [markdown]
# ## 6.2 · Your requests
#
# A request stands beside the call that it asks for, written as in Python. Where nothing is to be called, a reply stands in its place. `examples.read` takes a list, a CSV, JSON or JSONL file, or the address of a Google
# Sheet that anybody with the link may read. The columns are named `request`, `call` and `reply`; numbers in a call have the digits 0 to 9, text has straight quotes, and the comma is the Latin one. In a CSV that you write by hand, the whole call stands in double quotes; from Excel, save as *CSV UTF-8*. On Colab, upload a file by the folder icon on the left, and give its name.
#
# Give each function two requests at least, better ten. Fewer than ten in all are refused, and so is a function that no request calls. Of two one is held for judging; a single one is trained on and never judged. A request that asks for two calls has both, with a semicolon between them. Write some that ask for no call, too (the studio has four), so that the model still learns when to be silent.
#
# Leave out the names and numbers of real people. A model may repeat what it was trained on, and a sheet with a link is open to whoever has the link.
#
# The studio's requests are in standard Arabic and four dialects. They were written by a model, and no native speaker has read them yet.

# %%
from helpers import paths, plots
from helpers.yours import examples

# YOURS: a file, the address of a sheet, or a list such as
# [("أحتاج كيلو طين أحمر", "order_clay(kilos=1, color='red')"), ("شكراً", "", "العفو")]
# (I need a kilo of red clay; thanks; you are welcome)
source = paths.ASSETS / "own_example" / "requests.csv"

mine = examples.read(source)
examples.check(mine, tools)
seen, held = examples.split(mine, held=1 / 3)
stand_ins = [one.request for one in [*held, *seen] if one.calls]  # for the studio's, below
print(f"{len(mine)} requests: {len(seen)} to train on, {len(held)} to be judged by")

# %% [markdown]
# The split comes *before* anything is trained. The second part is what will tell you whether the model has learned your functions or your sentences. Some of the requests, beside what the model is to write:

# %%
from helpers.calls import serialize

plots.text_table([
    {"request": one.request, "is to call": serialize(list(one.calls)) or one.reply}
    for one in mine[3::10]
])

# %% [markdown]
# A wrong row costs more here than in a large set: of twenty-four rows to train on, one is four percent. `check` reads every row before a model does. We hand it three bad ones: *clay* with a word for a
# number, *how are you* with neither a call nor a reply, and *kiln* with a function that nobody declared.

# %%
wrong = [("طين", "order_clay(kilos='many', color='red')"), ("ازيك", ""), ("فرن", "open_kiln()")]
try:
    examples.check([*mine, *examples.read(wrong)], tools)
except CourseError as error:
    print(error)

# %% [markdown]
# ## 6.3 · Before
#
# We do not begin with a blank model. Whatever model the setup cell named, here it is Gemma 3 270M, the base, with the course's *reference adapter*: small matrices trained beside its frozen weights, which change what they compute. That adapter belongs to this base. It has read hundreds of tools, in Arabic of many countries and in English. It knows what a call looks like, has learned to read declarations, and mostly makes no call where none is asked for. It has never seen yours.
#
# **Your bet:** of the held requests that ask for a call, what share does it answer with exactly that call? *Exactly* is the same function, arguments and values. A default that is written out is a miss, and so is الاثنين for الاتنين.

# %%
from helpers import exercises

bet_before = exercises.bet("own-before", "exact calls before", low=0, high=100, step=5, unit="%")

# %% [markdown]
# Two sets are answered before and after. One is yours. The other is for tools of the course, which the adapter was trained on: a model that learns three new functions may forget all others. Counted are the requests that ask for a call. In brackets stands the 95 % interval (Wilson's): the shares for which such a count would be no surprise.

# %% tags=["nbval-ignore-output"]
from helpers import checkpoints, dataset, generation, reference, scoring

judged = examples.rows(held, tools, split="test")
others = dataset.load("test", tools_per_row=2).select(range(18)).to_list()
model, tokenizer = reference.load_adapter()


def answered(model, tokenizer):
    """What a model writes for both sets, and its scores: {set: (generations, report)}."""
    found = {}
    for name, rows in {"yours": judged, "others": others}.items():
        texts = generation.generate(model, tokenizer, rows, max_new_tokens=96)
        found[name] = texts, scoring.score(texts, rows)
    return found


before = answered(model, tokenizer)
for name, (_, report) in before.items():
    one = report.cell("exact")
    print(f"{name}: exact {one['hits']} of {one['n']} ({one['low']:.0%} to {one['high']:.0%})")

# %% [markdown]
# What does it write for yours? Look at the function first, then at its arguments: what a good reader of declarations still has to learn are mostly arguments.

# %% tags=["nbval-ignore-output"]
texts, report = before["yours"]
plots.text_table([
    {"request": row["query"], "before": text.text[:160]} for row, text in zip(judged[:5], texts)
])

# %% [markdown]
# ## 6.4 · Train
#
# Twenty-four rows are few, so training starts where the adapter ends, at a low rate. Each request is shown three times, in another order every time, eight behind one copy of the declarations.
# Rows of the course go in between, as many as yours. They are meant against forgetting.
#
# Where do rate and rounds come from? On a GPU, eighteen recipes (three rates, three or six rounds, three mixes: nothing, rows of the course, rows of other tools) went on from the adapter with the studio's requests. Each ran three
# times, each time without another third of the requests, which was then asked (`scripts/experiments/own_runs.py`). Each run was also asked the same requests of the course's test. A point is a recipe:

# %% tags=["nbval-ignore-output"]
from helpers.figures import notebook_06 as figures

tried = reference.load("own_runs")
recipes = {}  # (rate, rounds, what is mixed in) -> the scores of its three runs
for result in tried.results:
    named = result["learning_rate"], result["rounds"], result["mix"]
    recipes.setdefault(named, []).append(result["scores"])
print(tried.source())
plots.show(*figures.own_recipes(recipes, taken=(1e-4, 3, "course")))

# %% [markdown]
# With every recipe fewer of the course's calls are exact than before. A rate of 1e-3, which the guide takes for a run from nothing, leaves the fewest, and three rounds of it leave the studio's calls worse than before. Between the two lower
# rates thirty-two requests cannot tell: a call more or less is three points. At 1e-4 all six recipes end close together, at 3e-4 they scatter. So we take 1e-4, and three rounds, since six gave no more there. Rows of the course
# stay in, though at this rate one cannot see that they helped.
#
# The studio's held requests below are among those that this choice was made on, and so are the course's requests, which stood among three tools there and stand among two here. Read both scores as a little too good. With functions of your own, your requests had no part in it.
#
# A step reads eight rows, and half of the steps are yours. So three rounds make three steps for every four requests that you train on, and time grows with them: with hundreds, take a GPU. Eight requests make six steps, which no
# stored run has tried: write more before you change the rounds.
#
# **Two bets.** What share of your held requests gets the exact call after training? And of the calls for the course's tools that were exact before, how many are lost?

# %%
bet_after = exercises.bet("own-after", "exact calls after", low=0, high=100, step=5, unit="%")
asking = len(before["others"][1].hits("exact"))
bet_lost = exercises.bet("own-lost", "exact calls lost", low=0, high=asking, step=1, unit="calls")

# %%
import random

from helpers import training

own_rows = examples.rows(seen, tools)
shuffled = random.Random(0)
shown = [row for _ in range(3) for row in shuffled.sample(own_rows, len(own_rows))]
packs = -(-len(shown) // 8)  # eight rows a step, rounded up
mixed = shown + dataset.load("train", 3, rows_per_prompt=8).to_list()[: 8 * packs]
start = reference.adapter_folder()
recipe = training.Recipe(
    learning_rate=1e-4, max_steps=2 * packs, batch_size=1, rows_per_prompt=8, start=str(start)
)
print(f"{len(shown)} rows of yours, {len(mixed) - len(shown)} of the course, {2 * packs} steps")

# %% [markdown]
# If the run is interrupted, run the cell again: it goes on from its last checkpoint. The first one is written after ten steps, or after a quarter of all where that is more; before that it begins anew.

# %% tags=["nbval-ignore-output"]
model = None  # its memory is wanted below
run = training.train(recipe, mixed, checkpoints.ensure("gemma"))
losses = [step["loss"] for step in run.history]
third = -(-len(losses) // 3)
first, last = (sum(part) / third for part in (losses[:third], losses[-third:]))
plots.show(
    plots.training_curve(run.history),
    f"{len(losses)} steps in {run.seconds:.0f} s. Steps of two kinds are mixed, so the loss leaps: "
    f"in the first third it is {first:.2f} nats a token in the mean, in the last {last:.2f}.",
)

# %% [markdown]
# ## 6.5 · After
#
# The same requests, the same scorer. Of the requests that ask for a call the figure shows four shares, each stricter than the one before: *parse*, a call can be read; *name*, the function is right; *keys*, its arguments are those asked for; *exact*, their values too. Whiskers are 95 % intervals.

# %% tags=["nbval-ignore-output"]
after = answered(run.model, run.tokenizer)
exact = {}
for name in after:
    one, two = (reports[name][1].cell("exact") for reports in (before, after))
    exact[name] = f"{one['hits']} of {one['n']} before, {two['hits']} of {two['n']} after"
was, now = (reports["others"][1].hits("exact") for reports in (before, after))
lost, won = sum(a and not b for a, b in zip(was, now)), sum(b and not a for a, b in zip(was, now))
levels, silent = ["parse", "name", "keys", "exact"], after["yours"][1].cell("no_call")
plots.show(
    plots.scores({"before": before["yours"][1], "after": after["yours"][1]}, levels),
    f"Exact calls of your functions: {exact['yours']}. Of the course's: {exact['others']}. "
    f"Of your held requests that ask for no call, {silent['hits']} of {silent['n']} got none.",
)

# %% [markdown]
# With a dozen requests the whiskers are long, and the course's are as few. They do not say which of two recipes is better, and a step up by one or two calls is what such a run may give.
#
# Every miss is worth reading, since it shows what your rows do not hold yet. Write rows like it, not the same one: a request that is trained on no longer judges. The last column says where the written call first parts from the right one: function, arguments, or a value. Where it says *other value* throughout, the model has the function and its arguments, and reads the words wrong.

# %% tags=["nbval-ignore-output"]
from helpers.probes import misses

texts, report = after["yours"]
missed = [
    {"request": row["query"], "asks for": misses.in_english(row), "written": text.text[:160]}
    | {"parts at": misses.fate(row, text.text)}
    for row, text in misses.missed(judged, texts, report)
]
plots.text_table(missed or [{"missed": "none"}])

# %% [markdown]
# The last column shows the first 160 characters.
#
# And the price. The requests for the course's functions that were answered exactly before, and are not any more; *won* are those that went the other way. With a dozen requests one lost call is no measure of forgetting: the figure in 6.4, with 51 calls a recipe, is the better one.

# %% tags=["nbval-ignore-output"]
pairs = zip(others, after["others"][0], before["others"][1].rows, after["others"][1].rows)
forgotten = [
    {"request": row["query"], "asks for": misses.in_english(row), "written after": text.text[:160]}
    for row, text, a, b in pairs
    if a["exact"] and not b["exact"]
]
print(f"{len(forgotten)} lost, {won} won")
plots.text_table(forgotten[:5] or [{"forgotten": "none"}])

# %% [markdown]
# ## 6.6 · Ask it
#
# Type a request of your own into the box. Below the call stands every token with the probability that the model gave it. A thick border marks what it was less than half sure of. On a page that is only read, the first answer stands there.

# %% tags=["nbval-ignore-output"]
from helpers.yours import prompt_box

first_request = "بدي احجز العجلة تلات ساعات نهار الجمعة، أول مرة بجرّب"
first_request = first_request if studio else stand_ins[0]
prompt_box.box(run.model, run.tokenizer, tools, first_request)

# %% [markdown]
# The studio's asks for three hours on Friday, by somebody who has never tried. Now five requests that its owner might not have thought of: two things at once, a colour that is not sold, nothing to do, another language, a number that no kiln reaches.
#
# With functions of your own, five of your held requests stand here. To ask odd ones, write them into `odd`, each with what it asks for, and take out the line `odd = odd if studio else …`, which would replace them.

# %% tags=["nbval-ignore-output"]
odd = {
    "احجز عجلة ساعتين الأحد واطلب ٥ كيلو طين أبيض": "a wheel on Sunday, 2 h; 5 kg white clay",
    "عايز ٤ كيلو طين أزرق": "4 kg of blue clay",
    "صباح الخير": "good morning",
    "Fire 9 pieces at 980 degrees": "the same in English",
    "سخّن الفرن لـ٥٠٠٠ درجة وحط قطعتين": "heat the kiln to 5,000 degrees and put in two pieces",
}
odd = odd if studio else {row["query"]: misses.in_english(row) for row in judged[:5]}
plots.text_table([
    {"asks for": odd[told["request"]], **told}
    for told in prompt_box.table(run.model, run.tokenizer, list(odd), tools)
])

# %% [markdown]
# *Not to be run* means that the check stopped it: the call cannot be read or does not fit its declaration. Read the last column as well. It may name the very token that went wrong, and it may not: a probability is no proof.
#
# Nor is a check of the declaration. If a colour that is not sold becomes one that is, the call fits, and no check of it can tell. For what must not go wrong, let your program say back what it is about to do, and wait for a yes.
#
# ## 6.7 · The loop
#
# A call is half of the work. Your program runs it, hands the result back, and asks again, until the model answers in words. This is all there is to what is called an agent:

# %%
from helpers import calls, chat
from helpers.dispatch import check_call

table = {function.__name__: function for function in functions}


def ask(messages, tools):
    """The text of the model's next turn."""
    prompt = chat.render(messages, tools, add_generation_prompt=True)
    return generation.generate_texts(run.model, run.tokenizer, [prompt], 96)[0].text


def converse(messages, rounds=4):
    messages = list(messages)
    for _ in range(rounds):
        text = ask(messages, tools)
        made = calls.parse(text) if "<start_function_call>" in text else []
        if not made:
            return [*messages, text]
        written = [{"function": {"name": c.name, "arguments": c.arguments}} for c in made]
        messages.append({"role": "assistant", "tool_calls": written})
        for call in made:
            try:
                check_call(call, tools)  # what does not fit its declaration does not run
                result = table[call.name](**call.arguments)
            except Exception as error:  # the model may react to it
                result = {"error": str(error)}
            messages.append({"role": "tool", "name": call.name, "content": result})
    raise CourseError(f"it still calls after {rounds} rounds", "read the conversation")

# %% [markdown]
# Two lines deserve attention. `check_call` stands between the model and your function. And an error is handed back as a result, so that the model may react to it.

# %% tags=["nbval-ignore-output"]
six_kilos = "أبي ستة كيلو طين أحمر"  # I want six kilos of red clay
asked = dataset.conversation(six_kilos if studio else stand_ins[0], [])
try:
    talk = converse(asked)
except CourseError as error:  # a call that cannot be read, or one after the other
    talk = [*asked, str(error)]
added = talk[len(asked) : -1]
plots.text_table([
    {"who": message["role"], "what": message.get("tool_calls") or message["content"]}
    for message in [*asked[1:], *added, {"role": "assistant", "content": talk[-1]}]
])

# %% [markdown]
# The line of the tool is what your function returned. Hold the last line, the reply, against it. Your requests end with a call, or with a reply where nothing is called. They do not teach the model to speak of what comes back.
#
# Your program knows the result, so let the program say the sentence. Of six kilos that come on Sunday it says: *we have ordered 6 kilos of clay, it arrives on Sunday*. Of an error it says what the error is, and never that something was ordered.

# %% tags=["nbval-ignore-output"]
# YOURS: a sentence for each function, with the keys of what it returns in braces
say = {"order_clay": "طلبنا {kilos} كيلو طين، ويصل يوم {arrives}."}


def sentence(name, result):
    """What the program says of a result; the result itself where it has no sentence for it."""
    known = name in say and isinstance(result, dict) and "error" not in result
    return say[name].format(**result) if known else str(result)


results = [message for message in added if message["role"] == "tool"]
plots.text_table([{"your program says": sentence(one["name"], one["content"])} for one in results])

# %% [markdown]
# For whoever needs a reply in free words: rows in which a call, a result and a reply follow each other are of kind `followup` in the course's data, and a larger model is the shorter way.
#
# From here on the loop is `agent.converse`. It does the same, with three rules more. If one of several calls may not run, none does. A result that is no mapping is put into one. And a reply ends before its first control token: what has run shall not be lost to a bad sentence.

# %% tags=["nbval-ignore-output"]
from helpers.yours import agent


def calls_in(talk):
    return [call["function"] for one in talk[:-1] for call in one.get("tool_calls", ())]


try:
    same = agent.converse(ask, asked, tools, table)
    print("the helper's loop made the same calls:", calls_in(same) == calls_in(talk))
except CourseError as error:
    print(error)

# %% [markdown]
# ## 6.8 · Keep it
#
# What you have trained is a folder with an adapter. Kept, it has the tokenizer too, and two files more: the declarations that it was trained with, without which nobody can ask it anything, and a card. The card is filled in by the run.

# %% tags=["nbval-ignore-output"]
from helpers.yours import keep

counts = {
    "trained on, requests for these functions": len(seen),
    "trained on, rows of the course": len(mixed) - len(shown),
    "judged by, requests for these functions": len(held),
    "judged by, rows of the course": len(others),
}
scores = {
    "exact calls of these functions": after["yours"][1].cell("exact"),
    "exact calls of the course's functions": after["others"][1].cell("exact"),
}
card = keep.card(f"owner/{NAME}", tools, counts, scores)
folder = keep.save(run.adapter, tools, card, paths.readers_file(NAME))
run.tokenizer.save_pretrained(folder)  # with the control tokens, which Google's does not have
for file in sorted(folder.iterdir()):
    print(f"{file.name:<28}{file.stat().st_size / 1e3:10,.0f} kB")

# %% tags=["nbval-ignore-output"]
print(card[card.index("## Data") : card.index("## Load it")])

# %% [markdown]
# The folder is PEFT's own. A few lines of plain transformers and PEFT load it; the course is not among them. On a machine with the hub in reach, `base` is `"google/gemma-3-270m"`, once you are logged in there and have accepted
# Google's terms. Two things differ then. Google's tokenizer holds unused tokens where the control tokens stand here, so the course's tokenizer lies in the folder. And the base here was decoded from a file in Q4_K_M, so an answer may differ.

# %% tags=["nbval-ignore-output"]
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

base = checkpoints.ensure("gemma").path
again = AutoModelForCausalLM.from_pretrained(base, dtype=run.model.dtype)
again = PeftModel.from_pretrained(again, folder).eval()
# AutoTokenizer would ask for a model's config.json
reads = PreTrainedTokenizerFast.from_pretrained(folder)
again = again.to(run.model.device)
loaded = generation.generate(again, reads, judged, max_new_tokens=96)
same = sum(a.text == b.text for a, b in zip(loaded, after["yours"][0]))
print(f"{same} of {len(loaded)} held requests are answered as before, character by character")
again = None

# %% [markdown]
# On Colab the machine goes when you do, and the folder with it. Either of two lines, in a cell of your own, brings it to safety. The first asks for leave to use your Drive. The second needs a token of the hub that may write: run `import huggingface_hub` and `huggingface_hub.login()` before it. In the card `owner` stands for your name there: write it into `keep.card` in the first cell of this section, and run that cell again.
#
# ```python
# keep.to_drive(folder, NAME)
# keep.push(f"your-name/{NAME}", folder)  # private unless you say private=False
# ```
#
# ## 6.9 · Take it away
#
# `take_away.pack` merges the adapter into the base, rounds once to Q8_0, and writes a folder that needs nothing of this course: the model in one file, your functions as they stand above, and a client for both. Notebook 05 explains the file.

# %% tags=["nbval-ignore-output"]
from helpers.yours import take_away

away = take_away.pack(folder, functions, tools, paths.cache_folder() / "export" / NAME)
for file in sorted(one for one in away.iterdir() if one.is_file()):
    print(f"{file.name:<20}{file.stat().st_size / 1e3:10,.0f} kB")

# %% [markdown]
# A stranger opens that folder in a fresh process. All that is needed is the package `xllamacpp`, which is llama.cpp. Below the request stands what the client prints: where the model calls, first the call, then what the function of the folder returned, then what the model writes of it; last the reply without control tokens.

# %% tags=["nbval-ignore-output"]
import os
import subprocess

alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
words = [sys.executable, "client.py", "model.gguf", asked[-1]["content"]]
done = subprocess.run(words, cwd=away, env=alone, capture_output=True, text=True)
printed = done.stdout.strip().splitlines()
if done.returncode:  # it came to no answer, and says why
    printed += done.stderr.strip().splitlines()[-3:]
plots.text_table([{"line": n, "text": text} for n, text in enumerate([words[-1], *printed])])

# %% tags=["nbval-ignore-output"]
print("the client ended without a fault:", done.returncode == 0)
print("the model in the file called a function:", "<start_function_call>" in done.stdout)

# %% [markdown]
# The reply is the model's own words here too, and section 6.7 says why not to trust them: hold it against the function's line above it. In a stored run the function returned Sunday and the reply named Wednesday. The sentences of `say` stay behind; whoever builds on `client.py` prints them in place of its last line.
#
# On Colab this folder, too, goes with the machine. In a cell of your own, `keep.to_drive(away, f"{NAME}-file")` copies it to your Drive. Where it is used, `pip install xllamacpp`, then, inside the folder, `python client.py model.gguf "…"`.
#
# ### Elsewhere (deeper)
#
# Three more places, by how much of each was tried.
#
# **A server of llama.cpp's own**, on this machine or another. `client.py` takes its address in place of the file, and needs no package then. The client was run against the same server inside a Python process; the program itself was not at hand.
#
# ```
# llama-server -m model.gguf --jinja --special
# python client.py http://127.0.0.1:8080 "أبي ستة كيلو طين أحمر"
# ```
#
# **Ollama.** The folder holds a `Modelfile`, whose renderer and parser are Ollama's own for FunctionGemma. Both were read in Ollama's source; nothing was run, since Ollama is no Python package. The renderer opens with another sentence than the one that this model was trained on, and it leaves out every `enum`: here, the three colours. What that costs was not measured.
#
# ```
# ollama create pottery -f Modelfile
# ```
#
# Its interface takes `tools` as the declarations stand in `my_tools.py`, and answers with `tool_calls`:
#
# ```python
# import requests
# from my_tools import TOOLS
#
# asked = {"model": "pottery", "stream": False, "tools": TOOLS}
# asked["messages"] = [{"role": "user", "content": "أبي ستة كيلو طين أحمر"}]
# answer = requests.post("http://127.0.0.1:11434/api/chat", json=asked, timeout=60).json()
# print(answer["message"].get("tool_calls"))
# ```
#
# **A phone.** None was at hand. The way that we would take on Android, step by step: install Termux from F-Droid; `pkg install llama-cpp python`; copy the folder to the phone; start `llama-server` as above, and `client.py` with its address beside it. What the process
# needs there was measured on a computer, in section 5.6: the file, and a few dozen megabytes for the context.

# %% [markdown]
# ## 6.10 · Exercises
#
# All three end on the model that you have just trained. The first two are about the studio. With functions of your own they can be solved too, but the cell that would ask your model is passed over.

# %% [markdown]
# <!-- exercise 6.1 -->
# **Exercise 6.1 · Five requests of yours** (★☆☆, 10 minutes)
#
# Write `my_requests()`: a list of five or more pairs, a request for the pottery studio in your own Arabic and the call that it asks for, as a string. Each of the three functions is called at least once. No request may stand in the studio's list. Before the next cell asks your model, write down how many will be exact.
#
# <details><summary>Hint 1</summary>
#
# A pair is `("عندي ست قطع، الفرن على ٩٥٠", "fire_kiln(pieces=6, degrees=950)")`. That is a request for six pieces at 950 degrees.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The colours are `white`, `red` and `black`. A day is written as it is said, and an argument that nobody mentions is left out.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_requests():
#     return [
#         # Six pieces, the kiln at 950
#         ("عندي ست قطع، الفرن على ٩٥٠", "fire_kiln(pieces=6, degrees=950)"),
#         # Eleven kilos of white clay
#         ("١١ كيلو طين أبيض من فضلك", "order_clay(kilos=11, color='white')"),
#         # The black clay has run out, get two kilos
#         ("خلص الطين الأسود، هات كيلوين", "order_clay(kilos=2, color='black')"),
#         # The wheel on Wednesday for two hours, I have never worked on one
#         ("الدولاب يوم الأربعاء ساعتين، عمري ما اشتغلت عليه", "book_wheel(hours=2, day='الأربعاء', beginner=True)"),
#         # I will come on Monday and take the wheel for three hours
#         ("جاي الاثنين آخذ العجلة ثلاث ساعات", "book_wheel(hours=3, day='الاثنين')"),
#     ]
# ```
#
# </details>

# %%
def my_requests():
    ...


exercises.check("6.1", my_requests)

# %% [markdown]
# Your requests, asked of your model. Compare with what you wrote down.

# %% tags=["nbval-ignore-output"]
if studio and exercises.solved("6.1", my_requests):
    own = examples.rows(examples.read(my_requests()), tools, split="test")
    written = generation.generate(run.model, run.tokenizer, own, max_new_tokens=96)
    judgement = scoring.score(written, own).rows
    display(plots.text_table([
        {"request": row["query"], "written": text.text, "exact": told["exact"]}
        for row, text, told in zip(own, written, judgement)
    ]))

# %% [markdown]
# <!-- exercise 6.2 -->
# **Exercise 6.2 · The kiln says no** (★★☆, 10 minutes)
#
# The declaration lets any whole number pass as a temperature. Write `guard(call)`: a reason in words when a call must not run, an empty string when it may. `call` has a `name` and `arguments`. The kiln fires at 1,280 degrees at most and holds 40 pieces; whatever is above 1,200 degrees holds 20. Everything else may run. Predict first: told that it is too hot, does your model apologize, ask, or call again?
#
# <details><summary>Hint 1</summary>
#
# First the name: only `fire_kiln` has something to fear.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Three conditions, each with a reason of its own. The last one reads two arguments.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def guard(call):
#     if call.name != "fire_kiln":
#         return ""
#     pieces, degrees = call.arguments["pieces"], call.arguments["degrees"]
#     if degrees > 1280:
#         return "the kiln fires at 1280 degrees at most"
#     most = 20 if degrees > 1200 else 40
#     return f"at {degrees} degrees it holds {most} pieces" if pieces > most else ""
# ```
#
# </details>

# %%
def guard(call):
    ...


exercises.check("6.2", guard)

# %% [markdown]
# Your guard in the loop, before a request for a kiln of 5,000 degrees and two pieces. What does the model make of your refusal?

# %% tags=["nbval-ignore-output"]
if studio and exercises.solved("6.2", guard):
    def guarded(pieces, degrees):
        refusal = guard(calls.FunctionCall("fire_kiln", {"pieces": pieces, "degrees": degrees}))
        return {"error": refusal} if refusal else fire_kiln(pieces, degrees)

    hot = dataset.conversation("سخّن الفرن على ٥٠٠٠ درجة، عندي قطعتين", [])
    try:
        talk = agent.converse(ask, hot, tools, table | {"fire_kiln": guarded})
        for message in talk[len(hot) :]:
            print(message["role"], message.get("tool_calls") or message["content"])
    except CourseError as error:  # it called again and again
        print(error)

# %% [markdown]
# <!-- exercise 6.3 -->
# **Exercise 6.3 · How many requests would tell?** (★★★, 15 minutes)
#
# A dozen held requests leave a wide interval. Write `requests_needed(right, floor)`: the smallest number n of requests such that, with `round(right * n)` of them exact, the 95 % Wilson interval lies above `floor`. `right` is greater than `floor`. Bet first: if nine in ten are exact, how many requests show that it is more than eight in ten?
#
# <details><summary>Hint 1</summary>
#
# `from helpers.scoring import wilson`, and `wilson(hits, n)` gives the interval's two ends.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Try n = 1, 2, 3 and so on: `itertools.count(1)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def requests_needed(right, floor):
#     import itertools
#
#     from helpers.scoring import wilson
#
#     return next(n for n in itertools.count(1) if wilson(round(right * n), n)[0] > floor)
# ```
#
# </details>

# %%
def requests_needed(right, floor):
    ...


exercises.check("6.3", requests_needed)

# %% [markdown]
# Your function on your model: with the share of exact calls that section 6.5 found, how many held requests would show that it is above a half?

# %% tags=["nbval-ignore-output"]
if exercises.solved("6.3", requests_needed):
    share = after["yours"][1].rate("exact")
    needed = requests_needed(share, 0.5) if share > 0.5 else "no number of"
    print(f"{share:.0%} exact: {needed} requests would show that it is above 50 %")

# %% [markdown]
# ## 6.11 · Recap
#
# Your bets beside what was measured.

# %% tags=["nbval-ignore-output"]
exercises.recap({
    "own-before": f"{before['yours'][1].rate('exact'):.0%}",
    "own-after": f"{after['yours'][1].rate('exact'):.0%}",
    "own-lost": lost,
})

# %% [markdown]
# **What this cannot tell.** One run, one seed, a dozen requests by the author of the others. The settings need not be the best for your functions. A stranger asks in words that are in none of these rows.
#
# **Quiz 1.** All of your held requests get the exact call. What is the next thing to do?
#
# <details><summary>A · Ship it.</summary>
#
# The same person wrote the requests to train on and those to judge by. What has been shown is that the model understands *you*.
#
# </details>
# <details><summary>B · Have three others write ten requests each, and ask the model those.</summary>
#
# Yes. Their words are what it will meet. What it misses goes into the training rows, and the next ones who write are three others again.
#
# </details>
# <details><summary>C · Train longer, until the loss is lower.</summary>
#
# The loss is that of rows that it has seen three times. It can fall further without one more request being understood.
#
# </details>
#
# **Quiz 2.** A call names your function, fits its declaration, and would still ruin a kiln. Who stops it?
#
# <details><summary>A · The model, once it is trained well.</summary>
#
# It has learned to write what is asked for. Nothing in its training says what a kiln can stand.
#
# </details>
# <details><summary>B · The declaration: a bound would be a keyword of its schema.</summary>
#
# It could be, and `check_call` would hold to it. But the bounds that matter often depend on more than one number, or on who asks.
#
# </details>
# <details><summary>C · Your program, between the check and the function.</summary>
#
# Yes: exercise 6.2. What comes out of a model is a proposal.
#
# </details>
#
# **Quiz 3.** Half of the rows in training were not about your functions. What were they for?
#
# <details><summary>A · They teach your functions more.</summary>
#
# They declare others. What they may teach is reading a declaration, but that the adapter knew before.
#
# </details>
# <details><summary>B · They keep what the adapter could do before.</summary>
#
# Yes, that is what they are for. An update that only ever sees three functions may pull every request toward them. Whether they help is another question: at our rate the stored runs of 6.4 do not show it. The second set of section 6.3 is there to see yours.
#
# </details>
# <details><summary>C · They make the run longer, so that the rate can decay.</summary>
#
# A longer run of your own rows would do that too.
#
# </details>
#
# ## 6.12 · What to do now
#
# | if you saw | then |
# |---|---|
# | the right function, a wrong argument | more requests in which just that argument changes, in other words each time |
# | one of your functions called for another | two requests that differ in what tells the functions apart, for each; and other descriptions |
# | a call where you wanted words | requests with a reply in place of a call, near to your functions |
# | words where you wanted a call | clearer descriptions, and requests like the missed one among the training rows |
# | other tools forgotten | a lower rate; perhaps more rows of the course in between |
# | `row 0 has … tokens, more than max_length=1024` | declarations, request and call are too long together: declare fewer functions or shorten their docstrings, or add `max_length=2048` to `training.Recipe` in 6.4. The client reads 2,048 tokens at most (`n_ctx` in `client.py`) |
# | an answer that breaks off in the middle of a call | your calls are longer than the studio's: raise `max_new_tokens` in 6.3, and the 96 in `ask` |
# | all well with the studio's | your own functions: change what stands below `# YOURS`, restart the session, *Run all* |
# | all well with yours | three others write ten requests each, as in quiz 1 |
#
# Whatever you change after reading the held requests, you have changed with their help. They grow too easy. The last word belongs to requests that nobody has looked at.
#
# This is the last notebook. [Notebook 00](00_start_here.ipynb) has the map of the guide's claims, with what was measured.
#
# The weights are provided under and subject to the [Gemma Terms of Use](https://ai.google.dev/gemma/terms); so is an adapter that you pass on.
