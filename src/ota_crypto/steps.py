"""Generators that do long work in steps: running one to its end."""


def run(steps):
    """Run a generator to its end without a pause; returns its return value."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value
