# `make book` builds the course, `make test` checks everything; `make help` lists the rest.
PYTHON ?= python3
PIP_ARGS ?=
PORT ?= 8000
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH := .venv-bench
HTML := _build/html
PDF := _build/why-tokens-got-cheap.pdf
# What a chapter's outputs depend on beside its own cells, and what its page depends on.
PACKAGE := $(shell find costlab -name '*.py' -o -name '*.toml' -o -name '*.mplstyle')
EXTENSIONS := $(shell find book/_ext book/_templates book/icons book/web labs/release live_sliders -type f -not -path '*/__pycache__/*' 2>/dev/null)

.PHONY: help book pdf figures test test-all execute serve lab lab-copies check labs grade read feedback grades copies wheel bench lint format lock clean
.DEFAULT_GOAL := help

help:
	@echo "make book     build the course into $(HTML)"
	@echo "make pdf      the same as one file, $(PDF) (needs Chromium)"
	@echo "make figures  the book's figures for slides, as SVG and PDF: _build/figures (needs Chromium)"
	@echo "make test     lint, types, unit, notebook and browser tests"
	@echo "make test-all the same in full: four times the examples, every cell, every chapter's sliders"
	@echo "make execute  run the chapters and store their outputs (before a commit)"
	@echo "make serve    serve the built course on http://127.0.0.1:$(PORT)/"
	@echo "make lab      open JupyterLab on copies of the labs and the chapters, yours to change (labs/work)"
	@echo "make check    your points in a lab of labs/work, hidden checks included: make check LAB=moe"
	@echo "make labs     derive the labs' student versions from the solved ones (KEY=new: with a secret of your course)"
	@echo "make grade LAB=moe / make feedback LAB=moe / make grades: grade a class, write a page a student, the list (labs/README.md)"
	@echo "make read     open JupyterLab where a class's open answers are read and given points (Nbgrader > Formgrader)"
	@echo "make copies LAB=moe  whose answers are the published ones, names and layout aside"
	@echo "make wheel    costlab to install elsewhere, simulating twice as fast (needs a C compiler): dist/*.whl"
	@echo "make bench    measure us beside our peers: benchmarks/results.md (ONLY=moe: one benchmark)"
	@echo "make lint / make format / make clean"
	@echo "make lock     renew constraints.txt from what is installed"
	@echo "Variables: PYTHON=python3.12 (to make .venv), PIP_ARGS=..., PORT=$(PORT), WORKERS=$(WORKERS) (of make test)"

# The stamp is older than these files only when they changed, so pip runs only then. Pip is renewed first: the one that
# comes with Python 3.11 takes 40 s only to find the packages. It compiles on one core, so compiling is done after it, on
# all cores, without large folders of which little is imported; some packages carry files that are no Python.
$(STAMP): requirements.txt constraints.txt pyproject.toml
	@echo "Setting up $(VENV), the project's own Python: about a minute and a half, again only when requirements change."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) pip==26.3
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile $(PIP_ARGS) -r requirements.txt
	@$(BIN)/python -m compileall -qq -j 0 -x '/(tests?|testing|transformers/models|_inductor|torch/(ao|onnx))/' $(VENV)/lib || true
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(PIP_ARGS) -e .
	@touch $@

# Jupyter Book executes a chapter again only when its own cells change, and writes a page again only when
# its source does. When the package changes, forget both; when an extension changes, forget the pages.
_build/.package: $(STAMP) $(PACKAGE)
	@rm -rf _build/.jupyter_cache _build/.doctrees
	@mkdir -p _build
	@touch $@

_build/.extensions: $(EXTENSIONS)
	@rm -rf _build/.doctrees
	@mkdir -p _build
	@touch $@

# A warning is reported only while its page is read, so after a failed build read every page again:
# else the next build would pass. One thread a chapter: on a busy machine, threads that wait for one another
# take minutes for a second's work.
book: $(STAMP) _build/.package _build/.extensions
	@echo "Building the course. Chapters that changed are run, seconds to half a minute each."
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/jupyter-book build . --path-output . -W -n --keep-going --quiet \
	  || { rm -rf $(HTML) _build/.doctrees; exit 1; }
	@echo "Built. Open it with 'make serve', or open $(CURDIR)/$(HTML)/index.html"

# The built book, printed and joined.
pdf: book
	@$(BIN)/python tools/book_pdf.py --html $(HTML) --out $(PDF)

figures: book
	@$(BIN)/python tools/figures.py --html $(HTML) --out _build/figures

# Test files run side by side, each on one thread. A file stays whole (its tests share a browser); the build and the
# longest files come first, and both workers end together. Nbval compares what the build's kernels gave: no notebook
# runs twice, but in test-all.
# Hundreds of kernels and other processes start, which had better keep their bytecode, whatever the shell says.
test: $(STAMP) lint
	@echo "Testing: chapters, package, labs, and the book in browsers; about twelve minutes on two quiet cores."
	@PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-all: PYTEST_ARGS += --hypothesis-profile=all
test-all: test

# A build knows a chapter by its cells, so it forgets those whose outputs are renewed.
execute: $(STAMP)
	$(BIN)/python tools/execute_notebooks.py book/*.ipynb book/reference/*.ipynb
	rm -rf _build/.jupyter_cache

serve: $(STAMP)
	@test -f $(HTML)/index.html || $(MAKE) book
	@echo "Serving on http://127.0.0.1:$(PORT)/ (Ctrl-C stops it)"
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory $(HTML)

# Labs and chapters need a fifth of what the course is built and tested with. Where that is there already, it will do.
ifneq ($(wildcard $(STAMP)),)
LAB_BIN := $(BIN)
LAB_STAMP := $(STAMP)
else
LAB_BIN := .venv-lab/bin
LAB_STAMP := .venv-lab/.installed
endif

.venv-lab/.installed: labs/requirements.txt constraints.txt pyproject.toml
	@echo "Setting up .venv-lab, a small Python for labs and chapters: about a minute, again only when requirements change."
	@test -x .venv-lab/bin/python || $(PYTHON) -m venv .venv-lab
	@.venv-lab/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) pip==26.3
	@.venv-lab/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r labs/requirements.txt
	@.venv-lab/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(PIP_ARGS) -e .
	@touch $@

lab: $(LAB_STAMP) lab-copies
	$(LAB_BIN)/jupyter lab labs/work

# What you wrote is never overwritten: only labs and chapters that labs/work lacks are copied there.
lab-copies:
	@$(PYTHON) tools/lab_copies.py

check: $(LAB_STAMP)
	@test -n "$(LAB)" || { echo "Name the lab: make check LAB=moe"; exit 2; }
	@test -f "labs/work/$(LAB)/$(LAB).ipynb" || { echo "There is no labs/work/$(LAB)/$(LAB).ipynb. 'make lab'" \
	  "copies the labs there:" $$(ls labs/release); exit 2; }
	@$(LAB_BIN)/python -m costlab.lab "labs/work/$(LAB)/$(LAB).ipynb" || test $$? = 1

# For a teacher: see labs/README.md. SUBMISSIONS is a folder or the zip file of a learning platform.
NAMED = @test -n "$(LAB)" || { echo "Name the lab: make $@ LAB=moe"; exit 2; }
JOBS ?= 2
grade: $(STAMP)
	$(NAMED)
	@$(BIN)/python labs/teach.py grade "$(LAB)" --jobs $(JOBS) \
	  $(if $(SUBMISSIONS),--submissions "$(SUBMISSIONS)") $(if $(UNSAFE),--unsafe) || test $$? = 1

# Nbgrader finds the gradebook by a file of the folder in which it is started.
read: $(STAMP)
	@cd labs && ../$(BIN)/jupyter lab

feedback: $(STAMP)
	$(NAMED)
	@$(BIN)/python labs/teach.py feedback "$(LAB)"

grades: $(STAMP)
	@$(BIN)/python labs/teach.py grades $(LAB)

labs: $(STAMP)
	@$(BIN)/python $(if $(KEY),labs/keyed.py "$(KEY)",labs/derive.py)

# Who handed in the published code: a reason to ask, no proof.
copies: $(STAMP)
	@test -n "$(LAB)" || { echo "Name the lab: make copies LAB=moe"; exit 2; }
	@$(BIN)/python labs/published.py "$(LAB)" $(if $(SUBMISSIONS),--submissions "$(SUBMISSIONS)")

wheel: $(STAMP)
	$(BIN)/python tools/compiled_wheel.py dist

# The benchmarks' peers pin other versions than the course's, so they live apart, and see the course's packages after theirs.
SITE := import sysconfig; print(sysconfig.get_path("purelib"))
$(BENCH)/.installed: $(STAMP) benchmarks/requirements.txt
	$(BIN)/python -m venv --clear $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(PIP_ARGS) -r benchmarks/requirements.txt
	echo "import site; site.addsitedir('$$($(BIN)/python -c '$(SITE)')')" > "$$($(BENCH)/bin/python -c '$(SITE)')/course.pth"
	touch $@

bench: $(BENCH)/.installed
	$(BENCH)/bin/python benchmarks/table.py $(ONLY)
	$(BENCH)/bin/python tools/readme_output.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy costlab live_sliders

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Direct dependencies stand in requirements.txt; local version parts such as +cpu are one machine's own.
lock: $(STAMP)
	$(BIN)/python -m pip freeze --exclude-editable --exclude costlab \
	  | sed -n 's/^\([A-Za-z0-9._-]*==[^+]*\).*$$/\1/p' > constraints.txt
	touch $(STAMP)

clean:
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)*' -prune -exec rm -rf {} +
