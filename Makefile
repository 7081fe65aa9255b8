# SPDX-License-Identifier: Apache-2.0
# Everything a developer or CI runs.  `make V=1` shows the commands.
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
ifneq ($(V),1)
.SILENT:
endif
SHELL := /bin/bash -eo pipefail

VENV := .venv
PY := $(VENV)/bin/python
BUILD := build

.PHONY: help
help:
	echo 'make demo | check | check-long | bench | setup | build | lint | test | clean'

.PHONY: build
build:
	mkdir -p $(BUILD)
	flock $(BUILD)/.lock $(PY) -W ignore setup.py -q build_ext --inplace
