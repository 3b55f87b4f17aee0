# Two commands: `make demo` runs the main job, `make test` the tests. Both set up .venv first, if it is not there.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint setup peers clean

demo: .venv/ready
	rm -rf runs/demo
	$(BIN)/ebbtide train digits --out runs/demo
	$(BIN)/ebbtide sample runs/demo -n 100 --steps 50 --film
	$(BIN)/ebbtide restore runs/demo --examples 6 --level 0.5
	$(BIN)/ebbtide report runs/demo
	@echo
	@echo "samples:  runs/demo/samples-0/grid.png"
	@echo "restored: runs/demo/pictures/restored.png"
	@echo "report:   runs/demo/report.html"

test: .venv/ready
	$(BIN)/python -m pytest

lint: .venv/ready
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/mypy

setup: .venv/ready

# What the benchmarks compare with, beside diffusers: without its torchvision, which this torch does not take.
peers: .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps \
	    denoising-diffusion-pytorch ema-pytorch einops k-diffusion

# Made anew only when what is installed changes.
.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv build dist
