# make demo   set up, export the demo model, register the phantom pair, look at demo/qc.png
# make test   lint, types and all tests
# make bench  every engine and its peers on this machine (bench-engines, -scaling, -cold, -classical,
#             -real_pairs: a part); needs the models and scans of ../shared/assets
# make setup  only the set-up: .venv with the tested versions of constraints.txt

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What the compiled kernels are made of: a change is compiled before anything else runs.
KERNELS := $(wildcard runtime/csrc/cpu/*) runtime/include/vmruntime.h
# More arguments for pip, such as --extra-index-url for PyTorch's CPU builds.
PIP_ARGS ?=

PHANTOM := examples/phantom
DEMO := demo

.PHONY: setup demo test lint types bench clean
.PHONY: bench-engines bench-scaling bench-cold bench-classical bench-real_pairs

setup: $(READY)

$(READY): setup.cfg setup.py pyproject.toml constraints.txt $(KERNELS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; choose one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
		--constraint constraints.txt --editable '.[test]'
	@touch $@

demo: $(READY)
	@mkdir -p $(DEMO)
	$(BIN)/vm-export examples/demo_model.pt -o $(DEMO)/model.onnx --force \
		--voxel-size 2,2,2 --intensity percentile:0,99
	$(BIN)/vm-infer $(DEMO)/model.onnx --force \
		--moving $(PHANTOM)/moving.nii.gz --moving-seg $(PHANTOM)/moving_labels.nii.gz \
		--fixed $(PHANTOM)/fixed.nii.gz --fixed-seg $(PHANTOM)/fixed_labels.nii.gz \
		--moved $(DEMO)/moved.nii.gz --moved-seg $(DEMO)/moved_labels.nii.gz \
		--warp $(DEMO)/warp.nii.gz --report $(DEMO)/qc.json --figure $(DEMO)/qc.png
	@echo "Look at $(DEMO)/qc.png; the registered scan, labels, warp and figures lie beside it."

test: lint types
	$(BIN)/pytest -n 2 --max-worker-restart 0 --dist loadgroup --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/bench.py

bench-engines bench-scaling bench-cold bench-classical bench-real_pairs: bench-%: $(READY)
	$(BIN)/python benchmarks/bench.py $*

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
