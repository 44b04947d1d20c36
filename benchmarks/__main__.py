"""Runs one benchmark, or all of them, and prints tables or JSON."""

import argparse
import importlib
import json
import pkgutil
import sys
from collections.abc import Mapping
from typing import Any

import benchmarks

Result = Mapping[str, Any]


def names() -> list[str]:
    """The benchmarks there are."""
    found = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(n for n in found if not n.startswith("_") and not n.endswith("_board"))


def run(name: str) -> Result:
    """Measure one benchmark."""
    result: Result = importlib.import_module(f"benchmarks.{name}").run()
    return result


def table(result: Result) -> str:
    """The figures, with those of peers that have the same names in columns beside them."""
    figures, peers = result["figures"], result["peers"]
    columns = {key: value for key, value in peers.items() if isinstance(value, Mapping)}
    rows = [(result["name"], "ours", *columns)]
    for name, value in figures.items():
        beside = (_text(column[name]) if name in column else "" for column in columns.values())
        rows.append((name, _text(value), *beside))
    rows += [
        (f"peer: {name}", _text(value)) for name, value in peers.items() if name not in columns
    ]
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.ljust(widths[i]) if i == 0 else cell.rjust(widths[i]) for i, cell in enumerate(row)
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _text(value: object) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("name", nargs="?", choices=names(), help="one benchmark; default: all")
    parser.add_argument("--json", action="store_true", help="one JSON object a benchmark")
    options = parser.parse_args(arguments)
    for name in [options.name] if options.name else names():
        result = run(name)
        print(json.dumps(result) if options.json else table(result) + "\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
