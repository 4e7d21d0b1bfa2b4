"""Design tasks: points in proportion to what was measured, within the rules, and in words what is wrong."""

from typing import Any

import numpy as np
import pytest
import torch

from minirag.retrieval.kmeans import kmeans
from minirag.teaching.checks import check_latency_budget, check_memory_budget
from minirag.teaching.checks.design import DesignTask, Setting
from minirag.teaching.checks.local import Local

TASKS = (check_latency_budget, check_memory_budget)


def told(function: Any, task: DesignTask, seed: int = 0) -> str:
    return task.run(Local(function, task.allowed, task.seconds), seed).text


def test_points_by_recall() -> None:
    setting = Setting((), "", ((0.7, 1), (0.8, 2), (0.9, 4)), None, None, None)
    assert [setting.earned(recall) for recall in (0.0, 0.69, 0.7, 0.85, 0.9, 1.0)] == [0, 0, 1, 2, 4, 4]
    assert setting.most == 4


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.number)
def test_the_points_of_all_settings_add_up(task: DesignTask) -> None:
    for seed in range(3):
        settings = task.draw(np.random.default_rng([seed]))
        assert sum(setting.most for setting in settings) == task.points
        for setting in settings:
            assert list(setting.steps) == sorted(setting.steps)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.number)
def test_the_seed_decides_on_vectors_and_sizes(task: DesignTask) -> None:
    drawn = [task.draw(np.random.default_rng([seed])) for seed in (1, 1, 2)]
    assert drawn[0][0].rows.equal(drawn[1][0].rows)
    assert drawn[0][0].args[0] != drawn[2][0].args[0]


@pytest.mark.parametrize(
    ("task", "mistake"), [(task, each) for task in TASKS for each in task.mistakes], ids=lambda each: getattr(each, "name", "")
)
def test_each_mistake_is_told_by_its_name(task: DesignTask, mistake: Any) -> None:
    outcome = task.run(Local(mistake.wrong, ("minirag.",)), seed=1)
    assert outcome.mistake == mistake.name, outcome.text
    assert outcome.text.endswith(mistake.hint)
    assert outcome.points < task.points


def test_right_in_one_line() -> None:
    reference = Local(check_latency_budget.reference, allowed=("minirag.",))
    assert (
        check_latency_budget.run(reference, 0).text
        == "✓ 5.5 right: within all three budgets, and recall@10 is at least 0.88 in each."
    )


def test_part_of_the_points_and_what_is_to_be_had_for_more() -> None:
    def half_alone(n_rows: int, dim: int, allowed: int, reads: int) -> dict[str, Any]:
        return {"kind": "float16"}

    text = told(half_alone, check_memory_budget).splitlines()
    assert text[0] == "✗ 5.6 earns 3 of 9 points so far:"
    assert [line.split()[0] for line in text[1:]] == ["asked", "got", "earned", "asked", "got", "earned", "hint"]
    assert "earned    0 of 6 points (2 from recall 0.80 on, 4 from recall 0.90 on, 6 from recall 0.95 on)" in text[6]


def test_bytes_are_those_of_the_arrays() -> None:
    """Half of float32 by float16, to the byte; and an index of codes costs what its arrays take."""
    setting = check_memory_budget.draw(np.random.default_rng([0]))[0]
    n, dim, allowed, _ = setting.args
    assert check_memory_budget.measure(setting, {"kind": "float16"}).text.startswith(f"{allowed:,} bytes, recall@10 1.00")
    design = {"kind": "ivfpq", "n_lists": 1, "n_probe": 1, "pieces": 2, "finalists": 10}
    blocks = -(-n // 32) * 32 * (2 + 4)
    learnt = 4 * (dim * dim + 256 * dim + 2 * dim)  # rotation, codewords, a centroid and its mean
    assert check_memory_budget.measure(setting, design).text.startswith(f"{blocks + learnt:,} bytes")


def test_cost_is_centroids_and_rows_scanned() -> None:
    """With two lists and both probed every row is scanned; that is over the budget, and by how much can be said."""
    setting = check_latency_budget.draw(np.random.default_rng([0]))[0]
    n = setting.args[0]
    assert check_latency_budget.measure(setting, {"n_lists": 2, "n_probe": 2}).text == f"{n + 2:,} scored, over the budget"


@pytest.mark.parametrize(
    "design",
    [
        None,
        7,
        (16, 4),
        {},
        {"n_lists": 16},
        {"n_lists": 16, "n_probe": 4.0},
        {"n_lists": True, "n_probe": 1},
        {"n_lists": 16, "n_probe": 0},
        {"n_lists": -16, "n_probe": -20},
        {"n_lists": 10**5000, "n_probe": 1},
        {"kind": ["ivf"], "n_lists": 4, "n_probe": 1},
        {"kind": torch.zeros(3)},
        {1: 2},
    ],
)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.number)
def test_what_is_no_design(task: DesignTask, design: Any) -> None:
    outcome = task.run(Local(lambda *_: design), seed=0)
    assert (outcome.points, outcome.mistake) == (0, "other settings")


def test_nothing_yet_an_exception_and_a_changed_sample() -> None:
    def stub(n_rows: int, budget: int, sample: torch.Tensor) -> dict[str, int]:
        raise NotImplementedError("Exercise 5.5")

    def failing(n_rows: int, budget: int, sample: torch.Tensor) -> dict[str, int]:
        return {"n_lists": n_rows // 0, "n_probe": 1}

    def spoiling(n_rows: int, budget: int, sample: torch.Tensor) -> dict[str, int]:
        sample.zero_()
        return {"n_lists": budget // 4, "n_probe": 2}

    assert told(stub, check_latency_budget) == "✗ 5.5 not yet: not written yet (Exercise 5.5)."
    assert "it raised ZeroDivisionError" in told(failing, check_latency_budget)
    assert "changes its argument number 3" in told(spoiling, check_latency_budget)


def test_the_package_may_be_measured_with() -> None:
    """A function that runs k-means on the sample is no cheat in 5.5."""

    def measuring(n_rows: int, budget: int, sample: torch.Tensor) -> dict[str, int]:
        return {"n_lists": len(kmeans(sample, budget // 4)), "n_probe": 1}

    assert not Local(measuring, check_latency_budget.allowed)((400, 80, torch.randn(400, 8)), ()).trouble
    assert Local(measuring)((400, 80, torch.randn(400, 8)), ()).final
