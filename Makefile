# SPDX-License-Identifier: GPL-2.0-or-later
#
#   make run       set everything up, boot Debian's OVMF as an SNP guest and print the verdict
#   make test      set everything up and run the tests, without the slow ones
#   make check     run ruff, mypy --strict, import-linter and the unit tests
#   make lint      the same without the unit tests
#   make docs      build the documents as HTML into build/docs, with warnings as errors
#   make test-slow run the tests that take minutes, and repeat some on another QEMU
#   make test-long run searches with many seeds, repeated suites and boots, hours of load, for a nightly
#   make test-paths run the boots of both with each exit by itself, and with answers inside a newer QEMU: an hour
#   make test-edk2 run the tests on firmware that is built from edk2's source
#   make bench     compare emulated runs with plain TCG, and hosts over SSH with this machine; print each aim and its value
#   make check-counts  compare the exits of stock firmware with those recorded; COUNTS_FLAGS=--update records them
#   make firmware  build edk2 with and without ovmf_patches/, into build/firmware/
#   make nightly   build both, run each under each configuration, into build/nightly/, and compare with the last
#   make clean     remove what was built; make distclean: also .venv and runs/
#
# Each step leaves a stamp in .venv: a second call repeats only what changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV    := .venv
BIN     := $(VENV)/bin
PYTHON  ?= python3
FIRMWARE ?= debian:trixie
SOURCE ?= debian:trixie
PYTEST_FLAGS ?=
BENCH_FLAGS ?=
COUNTS_FLAGS ?=

PACKAGES  := $(VENV)/.packages
BUILDING  := $(VENV)/.packages-build
TESTING   := $(VENV)/.packages-test
BROWSER   := $(VENV)/.packages-browser
CHROOT    := $(VENV)/.packages-chroot
INSTALLED := $(VENV)/.installed
FETCHED   := $(VENV)/.fetched
MORE      := $(VENV)/.fetched-more
NEWER     := $(VENV)/.fetched-qemu
NESTED    := $(VENV)/.fetched-nested
LINUX     := $(VENV)/.fetched-linux
SPHINX    := $(VENV)/.installed-docs

.PHONY: help setup emulator images firmware firmware-source nightly run test test-slow test-long test-edk2 test-paths check lint docs bench check-counts clean distclean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(INSTALLED) emulator

# Packages first: they may contain the interpreter that makes .venv, where the stamps are.
$(PACKAGES): .ci/install-packages
	@.ci/install-packages
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: $$($(PYTHON) --version) is too old: Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

$(BUILDING): .ci/install-packages | $(PACKAGES)
	@.ci/install-packages build
	@touch $@

$(TESTING): .ci/install-packages | $(PACKAGES)
	@.ci/install-packages test
	@touch $@

# Debian's Chromium, of 100 MB: only the slow tests need it.
$(BROWSER): .ci/install-packages | $(PACKAGES)
	@.ci/install-packages browser
	@touch $@

$(CHROOT): .ci/install-packages | $(PACKAGES)
	@.ci/install-packages chroot
	@touch $@

# The emulator first: if it does not compile, the compiler's message is clearer than pip's.
$(INSTALLED): $(PACKAGES) pyproject.toml hatch_build.py | emulator
	@echo "Installing the harness and its Python packages into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

emulator: $(PACKAGES)
	@$(MAKE) --no-print-directory -s -C harness/emulator
	@$(MAKE) --no-print-directory -s -C guests/svsm_apic_conformance
	@$(MAKE) --no-print-directory -s -C guests/kvm_host

# Debian's images, which the tests boot.
images: $(FETCHED) $(MORE) $(NESTED) $(LINUX)

# Build tools that are not installed are fetched without root. Images that were built before come from the cache.
firmware: setup $(BUILDING)
	@$(BIN)/snp-harness firmware build --source '$(SOURCE)' --out build/firmware/stock
	@$(BIN)/snp-harness firmware build --source '$(SOURCE)' --series ovmf_patches/series --out build/firmware/fixed

firmware-source: setup $(BUILDING)
	@$(BIN)/snp-harness firmware source '$(SOURCE)'

# Uses the source that Debian has now, or without a network the one fetched last.
nightly: setup $(BUILDING)
	@case '$(SOURCE)' in debian:*) $(BIN)/snp-harness firmware source '$(SOURCE)';; esac
	@$(MAKE) --no-print-directory firmware
	@$(BIN)/snp-harness matrix stock=build/firmware/stock/OVMF.fd fixed=build/firmware/fixed/OVMF.fd --until shell \
	    --expect stock=any --expect stock/alternate-injection=x2apic-before-sec:violated \
	    --expect fixed/alternate-injection=holds --same-as stock --out build/nightly

$(FETCHED): $(INSTALLED)
	@$(BIN)/snp-harness fetch firmware trixie
	@touch $@

# Tests that need these are skipped without them, with the reason: a mirror may lack a suite.
$(MORE): $(FETCHED)
	@$(BIN)/snp-harness fetch firmware sid/amdsev bookworm && touch $@ || \
	    echo "warning: tests of other firmware than trixie's will be skipped" >&2

$(NESTED): $(FETCHED)
	@$(BIN)/snp-harness fetch nested && touch $@ || \
	    echo "warning: tests on the nested KVM host will be skipped" >&2

$(LINUX): $(FETCHED)
	@$(BIN)/snp-harness fetch linux trixie sid && touch $@ || \
	    echo "warning: tests with the Linux guest will be skipped" >&2

$(NEWER): $(INSTALLED)
	@$(BIN)/snp-harness fetch qemu sid && touch $@ || \
	    echo "warning: tests of another QEMU than the installed one will be skipped" >&2

# The verdict on today's OVMF is "violated", exit status 1. This target fails only if a run ends without a verdict.
run: setup $(FETCHED)
	@status=0; $(BIN)/snp-harness run --firmware $(FIRMWARE) || status=$$?; \
	case $$status in \
	0) echo "Exit status 0: the contract holds.";; \
	1) echo "Exit status 1: the firmware violates the contract (a verdict, not an error of the run).";; \
	*) echo "error: no verdict: snp-harness run ended with exit status $$status" >&2; exit $$status;; \
	esac

# Two at a time: QEMU's TCG uses one processor. A module's tests stay together, for what they build.
test: setup images $(TESTING)
	@$(BIN)/pytest -n 2 --dist loadfile $(PYTEST_FLAGS)

test-slow: setup images $(NEWER) $(TESTING) $(BROWSER)
	@$(BIN)/pytest -m 'slow and not edk2 and not long' -n 2 --dist worksteal $(PYTEST_FLAGS)

# Builds edk2 many times, which takes a quarter of an hour with an empty cache.
test-long: setup images $(NEWER) $(TESTING) $(CHROOT)
	@$(BIN)/pytest -m long -n 2 --dist worksteal $(PYTEST_FLAGS)

# The tests that boot the emulated host, the slow ones, too, with each exit by itself, and with answers inside QEMU of Debian
# sid. Those marked edk2 do, too, with SNP_HARNESS_EXITS in the environment of `make test-edk2`.
BOOTS := emulated and not edk2 and not long
test-paths: setup images $(NEWER) $(TESTING)
	@SNP_HARNESS_EXITS=single $(BIN)/pytest -m '$(BOOTS)' -n 2 --dist loadfile $(PYTEST_FLAGS)
	@qemu=$$($(BIN)/snp-harness fetch qemu sid) && SNP_HARNESS_EXITS=in-place SNP_HARNESS_QEMU=$$qemu \
	    $(BIN)/pytest -m '$(BOOTS)' -n 2 --dist loadfile $(PYTEST_FLAGS)

test-edk2: setup images $(NEWER) $(TESTING)
	@$(BIN)/pytest -m 'edk2 and not long' $(PYTEST_FLAGS)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

check: lint $(TESTING)
	@$(BIN)/pytest -m 'not slow and not emulated and not tcg and not kvm and not nested and not snp' $(PYTEST_FLAGS)

$(SPHINX): $(INSTALLED)
	@echo "Installing Sphinx into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

docs: $(SPHINX)
	@$(BIN)/sphinx-build -q -a -W --keep-going -b html -d build/doctrees docs build/docs
	@echo build/docs/index.html

bench: setup images firmware $(NEWER) $(TESTING) $(BROWSER)
	@$(BIN)/python -m bench.whole $(BENCH_FLAGS)

check-counts: setup $(FETCHED) $(TESTING)
	@$(BIN)/python -m bench.counts $(COUNTS_FLAGS)

clean:
	rm -rf harness/emulator/build guests/svsm_apic_conformance/build guests/kvm_host/build tests/emulator/guest/build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

distclean: clean
	rm -rf $(VENV) runs
