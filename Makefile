# make run        set up, execute the notebooks on the real model, leave notebooks and HTML under build/   (one: make run NB=04)
# make test       set up, check the style, run the unit tests and every notebook's stored outputs
# make notebooks  set up, execute the text twins and store the results under notebooks/                    (one: make notebooks NB=04)
# make pages      set up and look at the stored notebooks as pages in headless Chromium, light and dark      (one: make pages NB=04)
# make badges     set the repository's address in every badge, clone line and link                         (make badges REPO=owner/name)
# make rehearse   a fresh Python 3.12 with Colab's packages in it: the setup cell, then every notebook in order and alone  (OPTIONS="00 --passes order")
# make lab        set up and open JupyterLab
# make fuzz       a million inputs to the call parser, guided by coverage (atheris, in a .venv of its own)
# make data       rebuild assets/data from its sources

PYTHON ?= python3
VENV   ?= .venv
RUN    := $(VENV)/bin/python

export UNSLOTH_DISABLE_STATISTICS := 1
export HF_HUB_DISABLE_PROGRESS_BARS := 1

.PHONY: run test notebooks pages badges rehearse lab data fuzz setup

setup: $(VENV)/.ready
	@$(RUN) -m helpers.checkpoints

$(VENV)/.ready: requirements.txt requirements-nodeps.txt requirements-model.txt requirements-cpu.txt pyproject.toml
	@echo "Setting up $(VENV): about 2.5 GB, a few minutes the first time"
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-cpu.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-nodeps.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

run: setup
	$(RUN) scripts/notebooks.py run $(NB)

notebooks: setup
	$(RUN) scripts/notebooks.py store $(NB)

test: setup
	$(RUN) -m ruff check .
	$(RUN) -m pytest --nbval

pages: setup
	$(RUN) scripts/check_pages.py $(NB)

badges: setup
	$(RUN) scripts/badges.py $(REPO)

rehearse: setup
	$(RUN) scripts/rehearse.py $(OPTIONS)

lab: setup
	$(RUN) -m jupyter lab notebooks

data: setup
	$(RUN) -m helpers.dataset build

fuzz:
	@test -x .venv-fuzz/bin/python || $(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install --quiet --disable-pip-version-check atheris==3.0.0
	@mkdir -p build/fuzz
	.venv-fuzz/bin/python scripts/fuzz_parser.py build/fuzz -runs=1000000 -max_len=300 -seed=1 -print_final_stats=1
	.venv-fuzz/bin/python scripts/fuzz_parser.py build/fuzz --keep
