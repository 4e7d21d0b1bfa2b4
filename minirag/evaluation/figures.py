"""The report's pictures, as inline SVG: which results go into which plot, and what a listener is told about each."""

from minirag.evaluation.answering import Answered
from minirag.evaluation.findings import BM25, EXACT, IVF, RANDOM, Findings
from minirag.teaching import plots
from minirag.teaching.rag_plots import posterior_heatmap


def latency(findings: Findings, metric: str, title: str, k: int = 5) -> str:
    """Recall at k of the leading question set against the time that `metric` names."""
    points = []
    for system in findings.systems:
        recall = findings.of(findings.leading, system.name, f"recall@{k}")
        time = findings.of(findings.corpus, system.name, metric)
        if recall and time:
            points.append(plots.Point(system.family, system.label, time.value, recall.value, recall.low, recall.high))
    floor = findings.of(findings.leading, RANDOM.name, f"recall@{k}")
    told = "; ".join(
        f"{p.family} {p.label}: {100 * p.recall:.0f} % at {p.milliseconds:.2g} ms".replace(" :", ":") for p in points
    )
    figure = plots.recall_against_latency(points, k, title, floor.value if floor else None)
    return plots.svg(figure, f"{title}: top-{k} answer recall against search time. {told}.")


def bars(findings: Findings) -> str:
    """Recall at every k for the floor, BM25, exact search, and the IVF that probes a middling number of lists."""
    probed = [system for system in findings.systems if system.family == IVF]
    systems = [RANDOM, BM25, *probed[len(probed) // 2 : len(probed) // 2 + 1], EXACT]
    recalls = {
        k: [(r.value, r.low, r.high) for system in systems if (r := findings.of(findings.leading, system.name, f"recall@{k}"))]
        for k in findings.ks
    }
    names = [system.name.replace(", ", "\n", 1) for system in systems]
    told = "; ".join(
        f"{name}: {', '.join(f'top {k} {100 * recalls[k][i][0]:.0f} %' for k in recalls)}"
        for i, name in enumerate(system.name for system in systems)
    )
    title = f"Answer recall, {findings.leading}"
    return plots.svg(plots.recall_bars(names, recalls, title), f"{title}. {told}.")


def posterior(answered: Answered) -> str:
    """Which passage speaks at each token of an answer."""
    answer = answered.answer
    titles = [passage.title for passage in answer.passages]
    picture = posterior_heatmap(answer.posterior, answer.pieces, titles, answered.question.question)
    told = "; ".join(
        f"after “{piece}” mostly {titles[int(row.argmax())]} ({float(row.max()):.2f})"
        for piece, row in zip(answer.pieces, answer.posterior, strict=True)
    )
    return plots.svg(picture, f"p(document | question, answer so far) for “{answered.question.question}”: {told}.")


def lists(findings: Findings) -> str:
    """How unequal the lists of the inverted file are."""
    sizes = findings.list_sizes
    told = f"Histogram of the sizes of {len(sizes)} lists, from {int(sizes.min())} to {int(sizes.max())} passages."
    return plots.svg(plots.list_sizes(sizes, f"The {len(sizes)} lists of the IVF index"), told)
