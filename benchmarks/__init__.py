"""Measurements, side by side with their peers: `python -m benchmarks [NAME] [--json]`.

A benchmark is a module here with a function `run()` that measures once and returns
`{"name": str, "figures": {...}, "peers": {...}}`. Figures are numbers, named with their unit;
a peer is a number, or a dict of figures under the same names. The module's docstring says what
is measured and which bars it has to meet. Modules whose name ends in `_board` run under
MicroPython for a benchmark and are none themselves.
"""
