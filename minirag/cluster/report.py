"""The report of a job as a page of Markdown."""

from collections.abc import Mapping
from typing import Any


def as_markdown(report: Mapping[str, Any]) -> str:
    """Stages with their times beside the predicted ones, sizes, and recall."""
    settings, machine = report["settings"], report["machine"]
    (recall,) = (name for name in report if name.startswith("recall@"))
    stages = [
        f"| {each['stage']} | {each['seconds']:.1f} | {each['predicted']:.1f} | {100 * each['error']:.0f} % | {each['runs']} |"
        for each in report["stages"]
        if "seconds" in each
    ]
    sizes = [f"| {name} | {size / 1e6:,.1f} |" for name, size in report["bytes"].items() if size]
    lists = f", {report['lists']:,} lists" if report["lists"] else ""
    return "\n".join(
        [
            f"# {report['passages']:,} passages of {settings['file']}",
            "",
            f"Index `{settings['kind']}` over float16 vectors of {report['dim']} dimensions{lists}, encoded by "
            f"`{settings['encoder']}`. {machine['cpu']}, {machine['cores']} cores, {machine['date']}.",
            "",
            f"{recall} of the index against exact search: **{report[recall]:.3f}** (questions: {report['questions']}).",
            "",
            "| stage | seconds | predicted | may be off by | runs |",
            "|---|---|---|---|---|",
            *stages,
            "",
            "A stage with more runs than one was interrupted; its seconds are those of the last. A download's time is assumed "
            "from a network of 100 Mbit/s, the others are predicted from rates measured on this machine before the work.",
            "",
            "| on disk | MB |",
            "|---|---|",
            *sizes,
            "",
        ]
    )
