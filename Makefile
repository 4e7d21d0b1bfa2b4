# Everything starts from here: `make quickstart`, `make test`. Needs Python 3.11 or newer, make, and once a network.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart report-full test slow real browser colab html lint lab notebooks checkpoints multitask constraints clean

## make the environment, run the main job, say where the report lies; in less time: make quickstart QUICKSTART="--steps 30"
quickstart: .venv/ready
	$(BIN)/minirag quickstart $(QUICKSTART)

## every task's generators trained, then RAG and all its baselines and ablations over three seeds; over two hours on two cores
report-full: .venv/ready
	$(BIN)/python -m minirag.training.multitask runs/multitask/checkpoints
	$(BIN)/python -m minirag.evaluation.pocket runs/multitask/checkpoints results/tasks.json
	$(BIN)/python -m minirag.evaluation.study results/endtoend.json

## all tests: lint, types, package, documentation, notebooks
# Two workers with a thread each.
test: export OMP_NUM_THREADS = 1
test: .venv/ready lint
	$(BIN)/pytest -n 2 --dist loadscope tests
	$(BIN)/pytest --doctest-modules minirag
	$(BIN)/pytest -n 2 --dist loadscope --nbval --nbval-sanitize-with tests/notebooks/sanitize.cfg --nbval-cell-timeout 120 --ignore notebooks/exercises notebooks

## what takes minutes: many kills, a class of thirty graded, lost workers
slow: export OMP_NUM_THREADS = 1
slow: .venv/ready
	$(BIN)/pytest -m "slow and not shared" -n 2 -rs tests

## real text, all of it: SciFact and a slice of Wikipedia beside sentence-transformers and faiss, where ../shared/data has them
real: .venv/ready
	$(BIN)/pytest -m "slow and shared" -rs -s tests

## notebooks in JupyterLab and a real browser: run whole, a slider moved, a question typed; screenshots in runs/browser/
browser: .venv/ready
	$(BIN)/pytest -m browser -rs tests/browser

## a badge in each notebook that opens it in Colab, for the repository that holds your copy: make colab REPOSITORY=owner/name
colab: .venv/ready
	$(BIN)/python -m minirag.teaching.colab "$(REPOSITORY)"

## the course as a site that needs neither server nor network: runs/site/index.html
html: .venv/ready
	$(BIN)/python -m minirag.teaching.site

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## open the notebooks
lab: .venv/ready
	$(BIN)/jupyter lab notebooks

## run every notebook and keep its outputs, after a change that is meant to change them
notebooks: .venv/ready
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace notebooks/*.ipynb notebooks/solutions/*.ipynb
	$(BIN)/nbstripout --keep-output --keep-count --keep-id notebooks/*.ipynb notebooks/solutions/*.ipynb
	$(BIN)/minirag exercises build

## train again, from nothing, the weights that ship: an hour on two cores; goes on after a kill (rm -r runs/checkpoints: anew)
# Two processes with a thread each, which is faster than two threads, and makes the same weights each time.
checkpoints: export OMP_NUM_THREADS = 1
checkpoints: .venv/ready
	$(BIN)/torchrun --standalone --nproc-per-node 2 -m minirag.training.minis data/checkpoints
	$(BIN)/python -m minirag.evaluation.minis results/minis.json

## train again the generators that answer all tasks, from the checkpoints that ship
multitask: export OMP_NUM_THREADS = 1
multitask: .venv/ready
	$(BIN)/python -m minirag.training.multitask data/checkpoints

## pin again what is installed
constraints: .venv/ready
	$(BIN)/pip freeze --exclude-editable | grep -v ' @ ' > constraints.txt

# On Linux the plain index serves torch with CUDA, several GB; where a machine wants the CPU build, PyTorch's own index has it:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'minirag needs Python 3.11 or newer; name one: make PYTHON=python3.12')"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	touch .venv/ready

clean:
	rm -rf .venv runs build dist
