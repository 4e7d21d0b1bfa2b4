"""Four notebooks in JupyterLab and a real browser: run whole, and then touched as a student would.

    make browser            # screenshots in runs/browser/

Text is asserted, and that a picture is another one than before; never how it looks. For that there are the screenshots.
"""

from typing import TYPE_CHECKING

import pytest
from lab import Lab, changed, expect, keep, open_notebook, run_all, shown, slide, troubles, widget

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_tour_answers_a_question_that_is_typed(page: "Page", lab: Lab) -> None:
    open_notebook(page, lab, "00_tour.ipynb")
    run_all(page)
    assert troubles(page) == []
    explorer = widget(page, "Question")
    first = shown(explorer)
    field = explorer.get_by_role("textbox").first
    field.fill("Who discovered radium?")
    field.press("Enter")
    asked = changed(explorer, first, picture=False)  # five bars of about a fifth may be as long as those before
    assert asked.text.startswith("Who discovered radium?")
    keep(explorer, "00_question")
    slide(explorer, "K passages", 2)
    more = changed(explorer, asked)
    assert len(more.text) > len(asked.text)
    keep(explorer, "00_more_passages")
    assert troubles(page) == []


def test_ivf_probes_more_cells_when_a_slider_is_moved(page: "Page", lab: Lab) -> None:
    open_notebook(page, lab, "05_ivf.ipynb")
    run_all(page)
    assert troubles(page) == []
    cells = widget(page, "n_probe cells")
    two = shown(cells)
    slide(cells, "n_probe cells", 1)
    three = changed(cells, two)
    keep(cells, "05_three_cells")
    slide(cells, "question", -30)
    changed(cells, three)
    keep(cells, "05_question_turned")
    explorer = widget(page, "n_probe lists")
    before = shown(explorer)
    slide(explorer, "n_probe lists", 3)
    changed(explorer, before, picture=False)  # five bars of a fifth, as before
    keep(explorer, "05_more_lists")
    assert troubles(page) == []


def test_marginalisation_follows_the_sliders(page: "Page", lab: Lab) -> None:
    open_notebook(page, lab, "08_marginalisation.ipynb")
    run_all(page)
    assert troubles(page) == []
    sums = widget(page, "score 1")
    before = shown(sums)
    slide(sums, "score 1", -10)
    lower = changed(sums, before)
    keep(sums, "08_score_lowered")
    slide(sums, "p(a | z1)", 15)
    changed(sums, lower)
    keep(sums, "08_probability_raised")
    assert troubles(page) == []


def test_jeopardy_shows_the_other_posterior_and_takes_a_judgement(page: "Page", lab: Lab) -> None:
    open_notebook(page, lab, "13_jeopardy.ipynb")
    run_all(page)
    assert troubles(page) == []
    heat = page.locator(".jp-Cell-outputWrapper").filter(has=page.get_by_role("button", name="RAG-Token")).first
    before = shown(heat)
    heat.locator(".widget-toggle-button:not(.mod-active)").first.click()
    changed(heat, before)
    keep(heat, "13_other_posterior")
    judging = widget(page, "Pair")
    expect(judging).to_contain_text("0 of ")
    for row in judging.locator(".widget-toggle-buttons").all():
        row.get_by_role("button").first.click()
    expect(judging).to_contain_text("1 of ")
    keep(judging, "13_judged")
    assert troubles(page) == []
