"""Fail unless the quickstart's results are plausible: IVF equals exact search, search beats chance, answers are right."""

import json
import sys


def main(path: str) -> None:
    """Read results.json and compare what must hold between its rows."""
    with open(path, encoding="utf-8") as file:
        rows = json.load(file)
    if not all({"task", "system", "metric", "value", "low", "high", "n"} <= row.keys() for row in rows):
        sys.exit(f"{path}: a row lacks a field")
    recall = {(row["task"], row["metric"], row["system"]): row["value"] for row in rows if row["metric"].startswith("recall@")}
    questions = {(task, metric) for task, metric, _ in recall}
    if len(questions) < 9:
        sys.exit(f"{path}: {len(questions)} of at least 9 recalls (three question sets, top 1, 5 and 20)")
    for task, metric in questions:
        of = {system: recall[task, metric, system] for *_, system in recall}
        whole = next(system for system in of if system.startswith("bi-encoder, IVF, all"))
        chance, exact = of["random passages"], of["bi-encoder, exact"]
        if not chance < exact == of[whole]:
            sys.exit(f"{path}: {task}, {metric}: chance {chance}, exact {exact}, IVF over all lists {of[whole]}")
    matches = {(row["task"], row["system"]): row["value"] for row in rows if row["metric"] == "exact_match"}
    if len(matches) < 15 or max(matches.values()) < 0.3:
        sys.exit(f"{path}: {len(matches)} of 15 exact matches, the best of them {max(matches.values(), default=0)}")
    print(f"{len(rows)} results; exact search and IVF over all lists agree on {len(questions)} recalls, and beat chance")


if __name__ == "__main__":
    main(sys.argv[1])
