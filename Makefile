# Two commands a newcomer needs: `make demo` and `make test`. Both create .venv when it is missing.
PYTHON ?= python3
VENV   ?= .venv
CODE    = src tests benchmarks examples scripts hubconf.py hatch_build.py
PIP     = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test install lint wheel notebooks docs docker clean

demo: $(VENV)/.installed
	$(VENV)/bin/equiview demo --out runs/demo

test: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.installed-test
	$(PIP) -e '.[dev]'
	$(VENV)/bin/ruff format --check $(CODE)
	$(VENV)/bin/ruff check $(CODE)
	$(VENV)/bin/python -m mypy

# What would be released, tried in a fresh environment with the README's quick start.
wheel: $(VENV)/.created
	$(PIP) build
	rm -f dist/equiview-*
	$(VENV)/bin/python -m build
	PYTHON=$(abspath $(VENV))/bin/python PIP_ARGUMENTS="-c $(CURDIR)/constraints.txt" scripts/smoke.sh dist/equiview-*.whl

# Runs the notebooks (minutes) and keeps their outputs.
notebooks: $(VENV)/.installed
	$(PIP) -e '.[notebooks]'
	PATH="$(abspath $(VENV))/bin:$$PATH" $(VENV)/bin/python scripts/notebooks.py

# The documentation site, in site/; a warning, such as a link that leads nowhere, is an error.
docs: $(VENV)/.created
	$(PIP) mkdocs-material 'mkdocstrings[python]' mkdocs-jupyter ruff  # The extra `docs`; the package's own are not needed.
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict

# Images equiview:cpu, and with `make docker DOCKER_TARGET=cuda` equiview:cuda.
DOCKER_TARGET ?= cpu
docker:
	docker build --target $(DOCKER_TARGET) --tag equiview:$(DOCKER_TARGET) --build-arg COMMIT="$$(git rev-parse HEAD)" .

install: $(VENV)/.installed

$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit("equiview needs Python 3.11 or newer, found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) -e '.[test]'
	touch $(VENV)/.installed
	$(PIP) --no-deps --upgrade --target $(VENV)/timm timm torchvision  # apart: see the fixture `timm` in tests/conftest.py
	touch $@

clean:
	rm -rf $(VENV) runs dist build
