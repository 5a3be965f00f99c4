# make app    serve the page on http://localhost:7860
# make test   lint, types, floors and every test
# make bench  run the benchmarks, rewrite docs/benchmarks.md (CORPUS=DIR REAL=DIR HELD_OUT=DIR for those on held-out sound)
# make lint   format, lint, types and floors only
# make lock   resolve requirements.in again (UPGRADE=--upgrade for newer versions)
#
# Each sets up what it needs: uv, then .venv exactly as requirements.txt says. GNU make 3.81 or newer; Linux and macOS.

SHELL := /bin/sh
PYTHON3 ?= python3
PY := .venv/bin/python
READY := .venv/.installed
# A uv that works, or one of our own.
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .uv/bin/uv)

.PHONY: app test bench lint lock clean
.DELETE_ON_ERROR:

app: $(READY)
	$(PY) app.py

# Browser tests mostly wait for their browser: they run beside the others, all but LATER, which follow those, so that both
# ends come at about the same time; the report of the first is printed last.
LATER := tests/browser/test_violin.py
# They share the cores, so none should wait for its threads by spinning.
test: export OMP_WAIT_POLICY := PASSIVE
test: lint
	@log=$$(mktemp); $(PY) -m pytest tests/browser $(LATER:%=--ignore=%) >"$$log" 2>&1 & browser=$$!; \
	$(PY) -m pytest --ignore=tests/browser; rest=$$?; \
	$(PY) -m pytest $(LATER); later=$$?; \
	wait $$browser; browser=$$?; cat "$$log"; rm -f "$$log"; exit $$((rest | later | browser))

bench: $(READY)
	$(PY) -m tests.benchmarks $(if $(CORPUS),--corpus $(CORPUS)) $(if $(REAL),--real $(REAL)) $(if $(HELD_OUT),--held-out $(HELD_OUT))

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

lock: $(if $(filter uv,$(UV)),,$(UV))
	cp requirements.txt .lock.txt
	$(UV) pip compile requirements.in --override overrides.txt --universal --python-version 3.11 \
		--quiet --no-header $(UPGRADE) -o .lock.txt
	@if grep -n '://' .lock.txt; then echo 'A download address got into the lock.' >&2; rm .lock.txt; exit 1; fi
	@{ echo '# Install exactly, without resolving: "uv pip sync requirements.txt" or "pip install --no-deps -r requirements.txt".'; \
		echo '# Written by "make lock" from requirements.in and overrides.txt; the pins of some packages contradict each other.'; \
		cat .lock.txt; } > requirements.txt
	@rm .lock.txt

$(READY): requirements.txt $(if $(filter uv,$(UV)),,| $(UV))
	test -x $(PY) || $(UV) venv --quiet --python 3.11 .venv
	$(UV) pip sync --python $(PY) requirements.txt
	@touch $@

.uv/bin/uv:
	$(PYTHON3) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv

clean:
	rm -rf .venv .uv .mypy_cache .ruff_cache .import_linter_cache
