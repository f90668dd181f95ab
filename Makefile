# Everything this project does, by name: `make help` lists it. `make` builds the programs.
# Any variable can be set on the command line, or in the environment:
#
#     make dataset train DATA=~/cifar-10-batches-bin WIDTH=16 LIMIT=2000 EPOCHS=30
#
# Builds, trainings and trainer robust are resumable: run the same command again. make demo begins anew.

# ---- Inputs, outputs and settings. A line with ## describes the next line, for make help. ----

## images: CIFAR-10 or CIFAR-100, binary or Python version (folder or .tar.gz), or an image folder
DATA ?= data/cifar-10-binary.tar.gz
## use only N training images, balanced over the classes (empty: all)
LIMIT ?=
## auto, cpu, cuda or cuda:N
DEVICE ?= auto
## 1 builds with CUDA (needs a CUDA toolkit and cuDNN: the system's, or make cuda-toolkit)
CUDA ?=
## arithmetic of training: f32, or on CUDA tf32 or bf16
PRECISION ?= f32
## seed of every random number
SEED ?= 0

## path of the adversarial store
DB ?= data/cifar10.db
## run folder of the baseline, the model to attack
BASELINE ?= runs/baseline
## run folder of the robust model
RUN ?= runs/$(METHOD)

## channels of the models' stem (64: ResNet34 as in the paper)
WIDTH ?= 64
## settings of both trainings: recipes/RECIPE.toml, or a TOML file; what is set here wins (empty: the paper's)
RECIPE ?=
## passes over the training images (empty: the recipe's, or 150)
EPOCHS ?=
## the same, for the baseline
BASELINE_EPOCHS ?= $(EPOCHS)
## the same as LIMIT, for the baseline
BASELINE_LIMIT ?= $(LIMIT)
## images per training step (empty: the recipe's, or 64)
BATCH_SIZE ?=
## attack parameters: paper, standard or published
PRESET ?= paper
## joint (with the detector), adversarial (without), or one that attacks the model itself: pgd-at, trades, fast-at, atta
METHOD ?= joint
## adversarial share of the draws: a number, or a range such as 0.25..0.75 (empty: the recipe's, or 0.5)
ADV_RATIO ?=
## feature maps the detector sees: full (four stages) or low (the first) (empty: the recipe's, or full)
DETECTOR_INPUT ?=
## Transformer layers of the detector (empty: the recipe's, or 2)
DETECTOR_LAYERS ?=

## the Python for make bench and test-python (with PyTorch), make cuda-toolkit and check-cuda (with pip)
PYTHON ?= python3
## a clone of https://github.com/fra31/auto-attack, which make bench then compares with, too
AUTOATTACK ?=
## seconds of make fuzz for each target
FUZZ_SECONDS ?= 60
## more options for cargo
CARGO_FLAGS ?=
## more options for trainer pretrain
BASELINE_FLAGS ?=
## more options for generator build
DATASET_FLAGS ?=
## more options for trainer train
TRAIN_FLAGS ?=

## test images of make robust (empty: all)
ROBUST_LIMIT ?= 1000
## more options for trainer robust
ROBUST_FLAGS ?=

## seeds of the runs of make table2, table3 and table4
SEEDS ?= 0 1 2
## folder of these runs and their reports
TABLES ?= runs/tables
## rounds of make rounds
ROUNDS ?= 6
## epochs of each round
REFRESH ?= 5
## learning rate of the rounds, after a warm-up of an epoch; it falls along a cosine over all of them
ROUNDS_LR ?= 0.1
## folder of the rounds' stores and runs
ROUNDS_RUN ?= runs/rounds

# ---- The demo: end to end, within three minutes on two cores. ----

DEMO ?= runs/demo
DEMO_COUNT ?= 2000
DEMO_LIMIT ?= 500
DEMO_WIDTH ?= 8
DEMO_BATCH_SIZE ?= 32
DEMO_BASELINE_EPOCHS ?= 8
DEMO_EPOCHS ?= 26
DEMO_ADV_RATIO ?= 0.75
DEMO_DETECTOR_INPUT ?= full
DEMO_DETECTOR_LAYERS ?= 2
DEMO_BASELINE_FLAGS ?= --lr 0.05 --schedule cosine --augment none
DEMO_DATASET_FLAGS ?= --attacks-config scripts/demo.toml
DEMO_TRAIN_FLAGS ?= --lr 0.05 --schedule cosine --warmup 2 --augment none --weight-decay 0 --bounds gaussian=0.2..0.4 \
    --detector-optimizer adamw --detector-lr 0.001

# ---- Implementation. ----

SHELL = bash
.SHELLFLAGS = -euo pipefail -c
.DEFAULT_GOAL = build
.NOTPARALLEL:
.PHONY: help build data baseline dataset train robust rounds table2 table3 table4 demo clean-demo test bench lint check-cuda \
        cuda-toolkit gpu-bundle test-reliability test-cuda-stand-in fuzz test-slurm test-python \
        bench-store

BIN = $(or $(CARGO_TARGET_DIR),target)/release
GENERATOR = '$(BIN)/generator'
TRAINER = '$(BIN)/trainer'
FEATURES = $(if $(CUDA),--features cuda)
COMMON = --seed $(SEED) --device $(DEVICE)
LEARN = $(COMMON) --precision $(PRECISION)
SUBSET = $(if $(LIMIT),--limit $(LIMIT))
BASELINE_SUBSET = $(if $(BASELINE_LIMIT),--limit $(BASELINE_LIMIT))
CONFIG = $(if $(RECIPE),--config '$(or $(wildcard $(RECIPE)),recipes/$(RECIPE).toml)')
BASELINE_SIZE = $(if $(BASELINE_EPOCHS),--epochs $(BASELINE_EPOCHS)) $(if $(BATCH_SIZE),--batch-size $(BATCH_SIZE))
SIZE = $(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(BATCH_SIZE),--batch-size $(BATCH_SIZE))
DRAWS = $(if $(ADV_RATIO),--adv-ratio $(ADV_RATIO))
DETECTOR = $(if $(filter joint,$(METHOD)),$(if $(DETECTOR_INPUT),--detector-input $(DETECTOR_INPUT)) \
    $(if $(DETECTOR_LAYERS),--detector-layers $(DETECTOR_LAYERS)))

# Expands ~ in a path: shells other than bash leave it in NAME=~/path, and quotes do in any shell.
path = $(if $(filter ~/%,$(firstword $(1))),$(patsubst ~/%,$(HOME)/%,$(1)),$(1))

# The toolkit of make cuda-toolkit; make CUDA=1 uses it if it exists.
TOOLKIT = $(CURDIR)/cuda-toolkit
ifneq ($(CUDA)$(filter gpu-bundle,$(MAKECMDGOALS)),)
ifneq ($(wildcard $(TOOLKIT)/whole),)
export CUDA_HOME = $(TOOLKIT)
export CUDA_PATH = $(TOOLKIT)
export PATH := $(TOOLKIT)/bin:$(PATH)
# For the linker, and for the programs that this file starts (without the stubs).
export LIBRARY_PATH := $(TOOLKIT)/lib:$(TOOLKIT)/stubs:$(LIBRARY_PATH)
export LD_LIBRARY_PATH := $(TOOLKIT)/lib:$(LD_LIBRARY_PATH)
endif
# Without a GPU here: build for an H100 or H200.
ifeq ($(CUDA_COMPUTE_CAP)$(shell command -v nvidia-smi),)
export CUDA_COMPUTE_CAP = 90
endif
endif

# Linting and the CUDA check share a target folder of their own, so that the empty kernels of the latter are
# never linked into a program.
export CHECK_DIR = $(or $(CARGO_TARGET_DIR),target)/check

## this list
help:
	@awk '/^## /                       { text = substr($$0, 4); next } \
	      text && /^[a-z0-9 -]+:/       { sub(/[ :].*/, ""); targets = targets sprintf("  make %-12s %s\n", $$0, text) } \
	      text && /^[A-Z_]+ \?=/       { name = $$1; sub(/^[A-Z_]+ \?= ?/, ""); \
	                                     variables = variables sprintf("  %-16s %s [%s]\n", name, text, $$0) } \
	                                   { text = "" } \
	      END { printf "Targets\n%s\nVariables [defaults]; set them with NAME=value\n%s", targets, variables }' \
	     $(firstword $(MAKEFILE_LIST))

## both programs, in target/release
build:
ifneq ($(CUDA),)
	@command -v nvcc >/dev/null || { echo 'error: CUDA=$(CUDA) needs a CUDA toolkit: nvcc on PATH, or make cuda-toolkit' >&2; exit 4; }
endif
	cargo build --release --bins $(FEATURES) $(CARGO_FLAGS)

## downloads CIFAR-10 into data/, unless DATA says where it is
data:
ifeq ($(origin DATA),file)
	scripts/get-cifar10
endif

## trains the baseline, the model to attack, on clean images
baseline: build data
	$(TRAINER) pretrain --data '$(call path,$(DATA))' --out '$(call path,$(BASELINE))' --width $(WIDTH) \
	    $(CONFIG) $(BASELINE_SIZE) $(BASELINE_SUBSET) $(LEARN) $(BASELINE_FLAGS)

## baseline, then the store: every attack on every image, verified
dataset: baseline
	$(GENERATOR) build --data '$(call path,$(DATA))' --model '$(call path,$(BASELINE))/best.safetensors' --out '$(call path,$(DB))' \
	    --preset $(PRESET) $(SUBSET) $(COMMON) $(DATASET_FLAGS)
	$(GENERATOR) verify '$(call path,$(DB))'

## trains the robust model from the store, evaluates it, writes report.html
train: build
	$(TRAINER) train --db '$(call path,$(DB))' --out '$(call path,$(RUN))' --method $(METHOD) $(CONFIG) \
	    $(DRAWS) $(DETECTOR) $(SIZE) $(LEARN) $(TRAIN_FLAGS)
	$(TRAINER) eval --db '$(call path,$(DB))' --model '$(call path,$(RUN))/best.safetensors' --device $(DEVICE)
	$(TRAINER) report '$(call path,$(RUN))' --out '$(call path,$(RUN))/report.html'

## attacks the robust model itself (white-box) on ROBUST_LIMIT test images
robust: build
	$(TRAINER) robust --db '$(call path,$(DB))' --model '$(call path,$(RUN))/best.safetensors' --device $(DEVICE) \
	    --seed $(SEED) $(if $(ROBUST_LIMIT),--limit $(ROBUST_LIMIT)) $(ROBUST_FLAGS)

## baseline, then training in rounds: each attacks the last round's model into a new store, and trains on it
rounds: baseline
	BIN='$(BIN)' DATA='$(call path,$(DATA))' MODEL='$(call path,$(BASELINE))/best.safetensors' FOLDER='$(call path,$(ROUNDS_RUN))' \
	    ROUNDS=$(ROUNDS) REFRESH=$(REFRESH) LR=$(ROUNDS_LR) COMMON='$(COMMON)' \
	    BUILD_FLAGS='$(SUBSET) $(DATASET_FLAGS)' TRAIN_FLAGS='--precision $(PRECISION) $(CONFIG) $(if $(BATCH_SIZE),--batch-size $(BATCH_SIZE)) $(TRAIN_FLAGS)' \
	    scripts/rounds

## all runs of the paper's Table 2 for each seed, into one report; likewise table3 and table4
table2 table3 table4: build data
	BIN='$(BIN)' DATA='$(call path,$(DATA))' TABLES='$(call path,$(TABLES))' SEEDS='$(SEEDS)' WIDTH=$(WIDTH) COMMON='--device $(DEVICE)' \
	    BASELINE_FLAGS='--precision $(PRECISION) $(CONFIG) $(BASELINE_SIZE) $(BASELINE_SUBSET) $(BASELINE_FLAGS)' \
	    BUILD_FLAGS='--preset $(PRESET) $(SUBSET) $(DATASET_FLAGS)' TRAIN_FLAGS='--precision $(PRECISION) $(CONFIG) $(SIZE) $(TRAIN_FLAGS)' \
	    scripts/tables $(@:table%=%)

DEMO_FOLDER = $(call path,$(DEMO))

## end to end on a small synthetic data set, no download
demo: build clean-demo
	@mkdir -p '$(DEMO_FOLDER)' && touch '$(DEMO_FOLDER)/.demo'
	$(GENERATOR) synthetic --out '$(DEMO_FOLDER)/data' --count $(DEMO_COUNT) --seed $(SEED)
	$(MAKE) --no-print-directory dataset train \
	    DATA='$(DEMO_FOLDER)/data' DB='$(DEMO_FOLDER)/adversarial.db' BASELINE='$(DEMO_FOLDER)/baseline' RUN='$(DEMO_FOLDER)/joint' \
	    LIMIT=$(DEMO_LIMIT) BASELINE_LIMIT= WIDTH=$(DEMO_WIDTH) BATCH_SIZE=$(DEMO_BATCH_SIZE) \
	    BASELINE_EPOCHS=$(DEMO_BASELINE_EPOCHS) EPOCHS=$(DEMO_EPOCHS) \
	    METHOD=joint ADV_RATIO=$(DEMO_ADV_RATIO) \
	    DETECTOR_INPUT=$(DEMO_DETECTOR_INPUT) DETECTOR_LAYERS=$(DEMO_DETECTOR_LAYERS) \
	    BASELINE_FLAGS='$(DEMO_BASELINE_FLAGS)' DATASET_FLAGS='$(DEMO_DATASET_FLAGS)' \
	    TRAIN_FLAGS='$(DEMO_TRAIN_FLAGS)'
	@test -s '$(DEMO_FOLDER)/joint/report.html'
	@echo
	@echo 'The demo is done; its report is $(DEMO_FOLDER)/joint/report.html'

## removes the output of the demo
clean-demo:
	@[ ! -e '$(DEMO_FOLDER)' ] || [ -e '$(DEMO_FOLDER)/.demo' ] || \
	    { echo 'error: $(DEMO_FOLDER): found other files, expected a folder of the demo; name another' >&2; exit 2; }
	rm -rf '$(DEMO_FOLDER)'

## every test, documentation included
test:
	cargo test --release --workspace $(FEATURES) $(CARGO_FLAGS)

## fault injection: kills, signals, bit flips, truncation, full disks; FULL=1 for the full counts
test-reliability: build
	scripts/test/test-reliability $(if $(FULL),--full)

## fuzzes every reader of external files; needs cargo-fuzz and a C++ compiler
fuzz: build
	scripts/test/fuzz $(FUZZ_SECONDS)

## the Slurm jobs on a real Slurm of this machine; needs slurm-wlm and root
test-slurm: build
	scripts/test/test-slurm

## reads the programs' output with PyTorch and TensorBoard; PYTHON needs torch and tensorboard
test-python: build
	'$(PYTHON)' scripts/test/test-python
	'$(PYTHON)' scripts/test/test-results-page

## images per second compared with PyTorch, on the CPU; PYTHON needs torch, safetensors and torchattacks
bench: build
	AUTOATTACK='$(AUTOATTACK)' '$(PYTHON)' scripts/bench/bench '$(BIN)/trainer'

## speed of merge (compared with the disk) and verify on a store of CIFAR-10's size
bench-store: build
	scripts/bench/bench-store

## format, lock file, clippy and documentation, without a warning
lint:
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --locked --target-dir '$(CHECK_DIR)' --workspace --all-targets $(CARGO_FLAGS) -- -D warnings
	cargo clippy --locked --target-dir '$(CHECK_DIR)' --manifest-path fuzz/Cargo.toml -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --target-dir '$(CHECK_DIR)' --workspace --no-deps $(CARGO_FLAGS)

## lints the CUDA code, runs its kernels on the CPU, compiles them with NVRTC and ptxas, asks cuDNN for plans: no toolkit
check-cuda:
	scripts/cuda/check-cuda $(CARGO_FLAGS)
	scripts/cuda/check-kernels
	'$(PYTHON)' scripts/cuda/check-ptx
	PYTHON='$(PYTHON)' scripts/cuda/check-plans

## tests and programs with CUDA on the CPU, by stand-ins of NVIDIA's libraries; needs no GPU or toolkit, but x86-64 and C++
test-cuda-stand-in:
	scripts/cuda/stand-in/test

## sets up a CUDA 13.0 toolkit and cuDNN in cuda-toolkit/, from PyPI; PYTHON needs pip
cuda-toolkit:
	PYTHON='$(PYTHON)' scripts/cuda/cuda-toolkit '$(TOOLKIT)'

## packs programs, tests and benchmarks for a GPU machine without Rust or network
gpu-bundle:
	scripts/cuda/gpu-bundle gpu-bundle
