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
# What the build, the tests and the demonstration need of Debian 12.
PACKAGES := ovn-central ovn-host openvswitch-switch clang-16 clang-format-16 llvm-16 \
	libbpf-dev libelf-dev linux-libc-dev bpftool gcc make git python3-dev python3-venv \
	python3-openvswitch python3-prometheus-client python3-pyroute2 iproute2 iputils-ping traceroute ethtool tcpdump iperf3 procps openssl libcap2-bin \
	busybox-static groff-base isc-dhcp-client ndisc6 bind9-dnsutils iputils-arping isc-dhcp-server bird2
# And `make check-long`, for guests with other kernels.
LONG_PACKAGES := systemd-container qemu-system-x86 mmdebstrap cpio kmod xz-utils e2fsprogs
# `make deb`: Debian's own Python builds the package, not the virtual environment's.
DEB_PACKAGES := debhelper dh-python python3-setuptools python3-wheel \
	python3-cffi python3-pycparser python3-dev dpkg-dev lintian bash-completion rpm
C_FILES = $(shell git ls-files '*.c' '*.h')

.PHONY: help
help:
	echo 'make demo | check | check-long | bench | deb | rpm | setup | build | lint | test | clean'

# --- set-up -----------------------------------------------------------------

.PHONY: setup
setup: $(BUILD)/.packages $(BUILD)/.venv

# Daemons must not start because their package was installed: policy-rc.d(8).
$(BUILD)/.packages: WANTED = $(PACKAGES)
$(BUILD)/.packages-long: WANTED = $(LONG_PACKAGES)
$(BUILD)/.packages-deb: WANTED = $(DEB_PACKAGES)
$(BUILD)/.packages $(BUILD)/.packages-long $(BUILD)/.packages-deb: Makefile
	mkdir -p $(BUILD)
	if ! dpkg -s $(WANTED) >/dev/null 2>&1; then \
		[ $$(id -u) = 0 ] || { echo 'run as root, or install: $(WANTED)' >&2; exit 1; }; \
		apt-get update -qq; \
		[ -e /usr/sbin/policy-rc.d ] || { trap 'rm -f /usr/sbin/policy-rc.d' EXIT; \
			printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; \
			chmod +x /usr/sbin/policy-rc.d; }; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			$(WANTED) >$(BUILD)/apt.log 2>&1 || { tail -20 $(BUILD)/apt.log; exit 1; }; \
	fi
	touch $@

# Only the requirements that pyproject.toml names; the package itself is built below.
$(BUILD)/.venv: pyproject.toml | $(BUILD)/.packages
	[ -x $(PY) ] || python3 -m venv $(VENV)
	$(PY) tools/requirements.py dev sandbox fast >$(BUILD)/requirements.txt
	$(PY) -m pip install -q --disable-pip-version-check -r $(BUILD)/requirements.txt
	touch $@

# --- build --------------------------------------------------------------------

.PHONY: build
build: setup
	flock $(BUILD)/.lock $(PY) -W ignore setup.py -q build_ext --inplace
	[ $(VENV)/bin/ovn-bpf-controller -nt pyproject.toml ] || flock $(BUILD)/.lock \
		$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .

# --- checks -------------------------------------------------------------------

.PHONY: lint
lint: build
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	clang-format-16 --dry-run -Werror $(C_FILES)
	cc -std=gnu11 -fsyntax-only -Wall -Wextra -Werror -Iinclude csrc/native/*.c

.PHONY: test
test: build
	$(PY) -m pytest -q -n 2 --dist loadfile -m 'not long' --ignore tests/vm

.PHONY: check
check: lint test

# What needs other kernels, other releases of OVN, or more time.
.PHONY: check-long
check-long: build $(BUILD)/.packages-long $(BUILD)/.packages-deb
	$(PY) -m pytest -q

# --- to see it ------------------------------------------------------------------

.PHONY: demo
demo: build
	$(VENV)/bin/ovn-bpf-sandbox demo

.PHONY: bench
bench: build
	$(PY) -m tests.bench

# --- packages -------------------------------------------------------------------

# Built from the tracked files alone, in a directory of its own.
.PHONY: deb
deb: $(BUILD)/.packages $(BUILD)/.packages-deb
	rm -rf $(BUILD)/deb
	mkdir -p $(BUILD)/deb/source dist
	git ls-files -z | xargs -0 cp --parents -t $(BUILD)/deb/source
	cp -r packaging/deb $(BUILD)/deb/source/debian
	cd $(BUILD)/deb/source && PATH=/usr/sbin:/usr/bin:/sbin:/bin dpkg-buildpackage -b -us -uc \
		>../build.log 2>&1 || { tail -30 ../build.log; exit 1; }
	cp $(BUILD)/deb/*.deb dist/
	ls dist/*.deb

RPM_TOP := $(abspath $(BUILD))/rpm
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' ovn_bpf_controller/__init__.py)

# On Debian, too: what the spec file wants to build with has other names here.
.PHONY: rpm
rpm: $(BUILD)/.packages $(BUILD)/.packages-deb
	rm -rf $(RPM_TOP)
	mkdir -p $(RPM_TOP)/SOURCES dist
	git ls-files -z | tar --null --files-from=- --transform 's,^,ovn-bpf-controller-$(VERSION)/,' \
		-czf $(RPM_TOP)/SOURCES/ovn-bpf-controller-$(VERSION).tar.gz
	PATH=/usr/sbin:/usr/bin:/sbin:/bin rpmbuild -bb --nodeps --define '_topdir $(RPM_TOP)' \
		--define 'ovn_bpf_version $(VERSION)' packaging/rpm/ovn-bpf-controller.spec \
		>$(RPM_TOP)/build.log 2>&1 || { tail -30 $(RPM_TOP)/build.log; exit 1; }
	cp $(RPM_TOP)/RPMS/*/*.rpm dist/
	ls dist/*.rpm

.PHONY: clean
clean:
	rm -rf $(BUILD) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info bench.json
	rm -rf ovn_bpf_controller/bpf ovn_bpf_controller/_native.*.so
	rm -f ovn_bpf_controller/datapath/_libbpf.py
