# The two commands: `make demo` and `make test`. Everything else is convenience.
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help setup demo serve test check dist train experiment bench torture clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

.venv/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version)'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/service: .venv/pip pyproject.toml constraints.txt
	$(PIP) --editable '.[cpu,demo]'
	@touch $@

.venv/all: .venv/service
	$(PIP) --editable '.[cpu,demo,training,test]'
	@touch $@

setup: .venv/all  ## install everything into .venv

demo: .venv/service  ## simulate a cycle, serve it, correct it, show it
	$(BIN)/python -m training.demo --out demo

serve: .venv/service  ## keep a service running on http://127.0.0.1:8000
	$(BIN)/rainpost serve

test: .venv/all  ## the tests
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

check: .venv/all  ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

dist: .venv/all  ## the wheel and the source archive, into dist/
	$(PIP) build
	$(BIN)/python -m build --outdir dist .

VERSION ?= 0.1.0
train: .venv/all  ## a new version of the nano model (VERSION=x.y.z): simulate, fit, score, export
	@test ! -e models/nano-$(VERSION) || (echo "models/nano-$(VERSION) exists and is never rewritten: make train VERSION=x.y.z"; exit 1)
	$(BIN)/python -m training.dataset --cycles 2000 --evaluation-cycles 200 --seed 1 --out data/simulated.zarr
	$(BIN)/python -m training.finetune --config training/configs/nano.toml --out runs/nano
	$(BIN)/python -m training.evaluate --run runs/nano
	$(BIN)/python -m training.baseline --config training/configs/experiment/raw.toml --out runs/raw
	$(BIN)/python -m training.baseline --config training/configs/experiment/smoothed.toml --out runs/smoothed
	$(BIN)/python -m training.export --run runs/nano --name nano --version $(VERSION) --out models --beside runs/raw runs/smoothed

experiment: .venv/all  ## every row of training/RESULTS.md, for hours; resumable
	$(BIN)/python -m training.experiment run --jobs 2
	$(BIN)/python -m training.experiment tables

bench: .venv/all  ## reading, publication, growth and inference as ratios to named peers, for most of an hour
	$(BIN)/python -m tests.bench.reading
	$(BIN)/python -m tests.bench.publication
	$(BIN)/python -m tests.bench.growth
	$(BIN)/python -m tests.bench.inference
	$(BIN)/python -m tests.bench.rewrites
	$(BIN)/python -m tests.bench.widths
	$(BIN)/python -m tests.bench.cycle

torture: .venv/all  ## every campaign of service/RELIABILITY.md in full, for hours
	$(BIN)/python -m tests.torture.hostile_files --count 10000 --seed 1
	$(BIN)/python -m tests.torture.kills --count 200 --seed 1 --database sqlite
	$(BIN)/python -m tests.torture.kills --count 200 --seed 1 --database postgresql
	$(BIN)/python -m tests.torture.requests --count 200 --seed 1
	$(BIN)/python -m tests.torture.outages --losing power --seconds 60 --count 6
	$(BIN)/python -m tests.torture.outages --losing packets --seconds 60 --count 6
	$(BIN)/python -m tests.torture.soak --days 30 --seed 1
	$(BIN)/python -m tests.torture.load --clients 10 100 500 --seconds 20

clean:  ## remove what the other targets made, except .venv
	rm -rf demo dist build runs data
