# Two commands: `make demo` runs the main job, `make test` the tests. Each first installs into .venv what it needs and
# is not there yet: the demo the library alone, the tests what develops it as well.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Whether the interpreter of .venv runs, and its pip is whole enough to install.
WORKS := $(PIP) install --no-index --dry-run pip >/dev/null 2>&1

.PHONY: demo test lint setup peers clean

demo: .venv/core
	rm -rf runs/demo
	$(BIN)/ebbtide train digits --out runs/demo
	$(BIN)/ebbtide sample runs/demo -n 100 --steps 50 --film
	$(BIN)/ebbtide restore runs/demo --examples 6 --level 0.5
	$(BIN)/ebbtide report runs/demo
	@echo
	@echo "samples:  runs/demo/samples-0/grid.png"
	@echo "restored: runs/demo/pictures/restored.png"
	@echo "report:   runs/demo/report.html"

# Workers of one thread each, side by side: networks in tests are so small that threads would cost more than they bring.
test: .venv/dev
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

lint: .venv/dev
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/mypy

setup: .venv/dev

# What the benchmarks compare with, beside diffusers: without its torchvision, which this torch does not take.
peers: .venv/dev
	$(PIP) install --constraint constraints.txt --no-deps \
	    denoising-diffusion-pytorch ema-pytorch einops k-diffusion

# A stamp is written when all is installed and depends on what is installed: the second time there is nothing to do, and
# what was interrupted is taken up again, also a .venv that is half made. One that works is never emptied.
.venv/core: pyproject.toml constraints.txt $(BIN)/python
	$(WORKS) || $(PYTHON) -m venv .venv && $(WORKS) || $(PYTHON) -m venv --clear .venv
	$(PIP) install --constraint constraints.txt --editable .
	touch $@

.venv/dev: .venv/core
	$(PIP) install --constraint constraints.txt --editable ".[dev]"
	touch $@

# Missing, or a link to an interpreter that is gone: the stamps beside it say nothing then.
$(BIN)/python: ;

clean:
	rm -rf .venv build dist
