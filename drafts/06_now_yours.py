# %% [markdown]
# # 06 · Now yours: from Python functions to a model in a file
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/arabic-functiongemma-course/blob/main/notebooks/06_now_yours.ipynb)
#
# **After this notebook you have** a model that calls *your* functions: trained on your requests, tried in a box, kept with a card, and written into one file that answers without Python.
#
# **You need** functions with docstrings and some thirty requests. As long as you have none, a pottery studio lends you its own. No other notebook has to be run first.
#
# **Time**: 10 minutes on two CPU cores. **Memory**: 8 GB. The whole is core: 40 minutes to walk through.
#
# It tests no claim of the guide. It does what the guide is for.

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
# A model reads a *declaration*: a name, a description, and what each argument means. Python has all three: the function's name, its docstring, its type hints. Replace these three with yours.

# %%
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
    return {"pieces": pieces, "degrees": degrees, "hours": 9}

# %%
from helpers.schemas import as_tools

functions = [book_wheel, order_clay, fire_kiln]
tools = as_tools(functions).declarations
tools[1]

# %% [markdown]
# ## 6.2 · Your requests
#
# A request stands beside the call that it asks for, written as in Python; where nothing is to be called, a reply stands in its place. `examples.read` takes a list, a CSV, JSON or JSONL, or the address of a Google
# Sheet that anybody with the link may read.

# %%
from helpers import paths, plots
from helpers.yours import examples

source = paths.ASSETS / "own_example" / "requests.csv"  # or a list: [("…", "order_clay(kilos=3, color='red')")]
mine = examples.read(source)
examples.check(mine, tools)
seen, held = examples.split(mine, held=1 / 3)
print(f"{len(mine)} requests: {len(seen)} to train on, {len(held)} to be judged by")

# %% [markdown]
# What does `check` say of a faulty one?

# %%
from helpers.errors import CourseError

try:
    examples.check([*mine, examples.Example("طين", examples.read_calls("order_clay(kilos='many')"))], tools)
except CourseError as error:
    print(error)

# … 6.3 before (reference adapter, own held + 24 rows of other tools), bets; 6.4 train (Recipe(start=…), own rows packed by eight, mixed
# with rows of the course); 6.5 after (figure own/others, misses); 6.6 prompt_box.box + table; 6.7 the loop inline (thirty lines), then
# agent.converse, equal; 6.8 keep.card/save/to_drive/push; 6.9 take_away.pack, client run, server by its address; 6.10 elsewhere (Ollama, phone); recap
