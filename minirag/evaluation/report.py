"""The quickstart's report: one HTML file that needs nothing else, neither network nor script, on screen, phone and paper.

Every text from outside (questions, passages, titles, machine names) passes through `html.escape` on its way in.
"""

from pathlib import Path

from torch import Tensor

from minirag.corpus.words import escape, marked
from minirag.evaluation import endtoend_page, task_page
from minirag.evaluation.answering import Answered
from minirag.evaluation.figures import bars, latency, lists, posterior
from minirag.evaluation.findings import ANSWERING, BM25, ENCODING, EXACT, RANDOM, Example, Findings, System
from minirag.evaluation.run import BATCHED, SINGLE, Result
from minirag.files import atomic_path
from minirag.tasks.openqa import Question

SHOWN = 3  # passages of an example
CSS = Path(__file__).with_name("report.css")


def write_report(path: str | Path, findings: Findings) -> None:
    """Write the page, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(render(findings), encoding="utf-8")


def render(findings: Findings) -> str:
    """The page as text; the same findings give the same bytes."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>minirag quickstart: {escape(findings.corpus)}</title>
<style>
{CSS.read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
<h1>From text to answers</h1>
{_summary(findings)}
<h2>How often is the answer among the passages?</h2>
{_main_table(findings)}
<h2>What does speed cost?</h2>
{_figures(findings)}
<h2>Every question set</h2>
{_all_sets(findings)}
{_answers(findings)}
{endtoend_page.render(findings.trained) if findings.trained else ""}
{_tasks(findings)}
<h2>Examples of searching</h2>
{_examples(findings)}
<h2>How these numbers were made</h2>
{_provenance(findings)}
</main>
</body>
</html>
"""


def highlighted(text: str, question: Question) -> str:
    """`text` as HTML with the question's answers in `<mark>`, wherever `has_answer` would see one; patterns are not marked.

    >>> highlighted("Rome & Paris", Question("1", "?", ("paris",)))
    'Rome &amp; <mark>Paris</mark>'
    """
    return marked(text, () if question.match == "regex" else question.answers)


def _summary(findings: Findings) -> str:
    task, asked = findings.sets[-1]
    return f"""<p class="lead">In {findings.sizes["passages"]:,} passages of {escape(findings.corpus)}, the bi-encoder has
the answer among its first five passages for <strong>{_percent(findings, EXACT)}</strong> of {asked:,} questions
({escape(task)}), BM25 for {_percent(findings, BM25)}, and five random passages for {_percent(findings, RANDOM)}.</p>
<p>This is retrieval-augmented generation (Lewis et al. 2020). Text was cut into passages of 100 words;
each became a vector of {findings.sizes["dimensions"]} numbers by a BERT encoder; questions became vectors likewise, and were
answered with the passages of largest inner product. <em>Answer recall</em> at k is the share of questions for which at least
one of the first k passages contains an answer. {escape(findings.note)}</p>"""


def _percent(findings: Findings, system: System) -> str:
    result = findings.of(findings.leading, system.name, "recall@5")
    return f"{100 * result.value:.1f}\u00a0%" if result else "–"


def _main_table(findings: Findings) -> str:
    task, asked = findings.sets[-1]
    rows = []
    for system in findings.systems:
        cells = "".join(_recall_cell(findings.of(task, system.name, f"recall@{k}"), interval=True) for k in findings.ks)
        times = "".join(_time_cell(findings.of(findings.corpus, system.name, metric)) for metric in (SINGLE, BATCHED))
        rows.append(f'<tr><th scope="row">{escape(system.name)}</th>{cells}{times}</tr>')
    encoding = [findings.of(findings.corpus, ENCODING, metric) for metric in (SINGLE, BATCHED)]
    note = ""
    if encoding[0] and encoding[1]:
        note = f"""Encoding a question comes on top for the bi-encoder: {_ms(encoding[0].value)} ms alone,
{_ms(encoding[1].value)} ms in a batch."""
    heads = "".join(f'<th scope="col">top {k}, %</th>' for k in findings.ks)
    return f"""<p class="note">{escape(task)}, {asked:,} questions. Below each number its 95 % interval (Wilson).
Times: median milliseconds a question for searching the top {max(findings.ks)}, asked one by one and in batches. {note}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Answer recall and search times"><table>
<thead><tr><th scope="col">system</th>{heads}<th scope="col">ms, single</th><th scope="col">ms, batch</th></tr></thead>
<tbody>{"".join(rows)}</tbody></table></div>"""


def _all_sets(findings: Findings) -> str:
    ks = findings.ks
    groups = "".join(
        f'<th scope="colgroup" colspan="{len(ks)}">{escape(name)}<br><small>{asked:,} questions</small></th>'
        for name, asked in findings.sets
    )
    heads = "".join(f'<th scope="col">top {k}</th>' for _ in findings.sets for k in ks)
    rows = [
        f'<tr><th scope="row">{escape(system.name)}</th>'
        + "".join(_recall_cell(findings.of(name, system.name, f"recall@{k}")) for name, _ in findings.sets for k in ks)
        + "</tr>"
        for system in findings.systems
    ]
    return f"""<p class="note">Answer recall in percent. The encoder has seen none of these questions:
the sets differ in how they ask, and in what of.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Answer recall on every question set"><table>
<thead><tr><th rowspan="2" scope="col">system</th>{groups}</tr><tr>{heads}</tr></thead>
<tbody>{"".join(rows)}</tbody></table></div>"""


def _recall_cell(result: Result | None, interval: bool = False) -> str:
    if result is None:
        return "<td>–</td>"
    between = f"<br><small>{100 * result.low:.1f}–{100 * result.high:.1f}</small>" if interval else ""
    return f"<td>{100 * result.value:.1f}{between}</td>"


def _time_cell(result: Result | None) -> str:
    return f"<td>{_ms(result.value)}</td>" if result else "<td>–</td>"


def _ms(value: float) -> str:
    """Two significant digits, without exponents.

    >>> _ms(0.01234), _ms(1.26), _ms(123.4)
    ('0.012', '1.3', '123')
    """
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _figures(findings: Findings) -> str:
    figures = [
        (
            latency(findings, SINGLE, "One question at a time"),
            "Up and left is better. Numbers: lists probed. IVF is made for millions of vectors.",
        ),
        (
            latency(findings, BATCHED, "Questions in batches"),
            "The same in batches: one pass over the vectors serves many.",
        ),
        (bars(findings), "Whiskers are 95 % intervals."),
        (lists(findings), "IVF searches only some of these lists; very unequal ones would make its times unequal."),
    ]
    return '<div class="figures">' + "".join(
        f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>" for picture, caption in figures
    ) + "</div>"  # fmt: skip


def _answers(findings: Findings) -> str:
    """Exact match of every system that answers, one answer token by token, and a few more with their passages."""
    if not findings.answered:
        return ""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name, _ in findings.sets)
    rows = "".join(
        f'<tr><th scope="row">{escape(system)}</th>'
        + "".join(_recall_cell(findings.of(name, system, "exact_match"), interval=True) for name, _ in findings.sets)
        + "</tr>"
        for system in ANSWERING
    )
    right = [each for each in findings.answered if each.right]
    wrong = [each for each in findings.answered if not each.right]
    one = max(right or findings.answered, key=lambda each: _change(each.answer.posterior))
    shown = "".join(map(_answered, [one, *(each for each in right if each is not one)][:2] + wrong[:1]))
    return f"""<h2>Do the passages become answers?</h2>
<p class="note">Exact match in percent over {len(findings.answered)} questions drawn from each set, with its 95 % interval. A
small BART, which has learnt to copy but never seen a passage without the answer, reads each of five passages with the question;
its answers are summed over the passages.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Exact match of the answers"><table>
<thead><tr><th scope="col">system</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>
<div class="figures"><figure>{posterior(one)}<figcaption>Which passage the answer comes from, after each of its tokens: at the
start the retriever's own p(z|x), at the end p(z|x, y).</figcaption></figure></div>{shown}"""


def _tasks(findings: Findings) -> str:
    """The paper's tasks, all scores with their intervals."""
    if not findings.tasks:
        return ""
    return f"""<h2>The paper's tasks</h2>
<p class="note">Three generators that ship, each trained on all tasks at once, on test examples of MiniWiki in the layouts of
the paper's data. These are no numbers of the paper's data sets.</p>
{task_page.sections(findings.tasks, level=3)}"""


def _change(posterior: Tensor) -> float:
    """How far the last token's posterior is from the first one's."""
    return float((posterior[-1] - posterior[0]).abs().sum())


def _answered(each: Answered) -> str:
    answer, support = each.answer, each.answer.support.tolist()
    order = sorted(range(len(support)), key=lambda k: -support[k])[:SHOWN]
    passages = "".join(
        f"""<li><p class="source"><strong>{escape(answer.passages[k].title)}</strong>, p(z|x) = {answer.prior[k]:.2f},
p(z|x, y) = {support[k]:.2f}</p><p>{marked(answer.passages[k].text, [answer.text])}</p></li>"""
        for k in order
    )
    wanted = " or ".join(f"“{escape(text)}”" for text in each.question.answers)
    return f"""<section class="example"><p class="kind">{"Right" if each.right else "Wrong"}</p>
<h3>{escape(each.question.question)}</h3>
<p>Answered “{escape(answer.text)}” with p(y|x) = {answer.probability:.2g}; right would be {wanted}. The passages that account
for most of it:</p><ol>{passages}</ol></section>"""


def _examples(findings: Findings) -> str:
    if not findings.examples:
        return "<p>No question set held an example worth showing.</p>"
    intro = f"""<p>Each was drawn at random from its kind. The first {SHOWN} of five passages are shown; answers are
<mark>marked</mark>. The probability is p(z|x) ∝ exp(score) over the five; it is nearly flat where scores are cosines, as with
this encoder, and sharpens when the retriever is trained.</p>"""
    return intro + "".join(map(_example, findings.examples))


def _example(example: Example) -> str:
    ranks = "; ".join(f"{escape(system)}: {f'rank {rank}' if rank else 'not found'}" for system, rank in example.ranks.items())
    probabilities = example.found.probabilities.tolist()
    texts = zip(example.found.passages[:SHOWN], probabilities, example.found.scores.tolist(), strict=False)
    passages = "".join(
        f"""<li><p class="source"><strong>{escape(passage.title)}</strong>, p = {p:.2f}, score {score:.2f}</p>
<p>{highlighted(passage.text, example.question)}</p></li>"""
        for passage, p, score in texts
    )
    answers = " or ".join(f"“{escape(answer)}”" for answer in example.question.answers)
    return f"""<section class="example"><p class="kind">{escape(example.kind)}</p>
<h3>{escape(example.question.question)}</h3>
<p>Answer: {answers}. First found by {ranks}. Passages of <em>{escape(example.system)}</em>:</p><ol>{passages}</ol></section>"""


def _provenance(findings: Findings) -> str:
    machine = findings.machine
    sizes = ", ".join(f"{value:,} {name}" for name, value in findings.sizes.items())
    facts = {
        "command": findings.command,
        "seed": findings.seed,
        "encoder": findings.encoder,
        "sizes": sizes,
        "machine": f"{machine['cpu']}, {machine['cores']} cores, {machine['ram_gb']} GiB memory",
        "processor features": " ".join(machine["features"]) or "none that matter",
        "torch": f"{machine['torch']}, {machine['threads']} threads",
        "date": machine["date"],
        "duration": f"{findings.seconds:.0f} s in all",
    }
    rows = "".join(f"<tr><th scope='row'>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    stages = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{seconds:.1f}</td>"
        f"<td>{'found from an earlier run' if found else 'done now'}</td></tr>"
        for name, seconds, found in findings.stages
    )
    return f"""<div class="scroll" tabindex="0" role="region" aria-label="Settings and machine"><table class="facts">
<tbody>{rows}</tbody></table></div>
<div class="scroll" tabindex="0" role="region" aria-label="Stages and their durations"><table class="facts">
<thead><tr><th scope="col">stage</th><th scope="col">seconds</th><th scope="col">state</th></tr></thead>
<tbody>{stages}</tbody></table></div>
<p>The numbers are in <code>results.json</code>, beside this page. Recall is the same at each run with this seed; times are
not.</p>"""
