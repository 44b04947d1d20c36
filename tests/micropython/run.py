"""The test runner for MicroPython: runs every `test_*` function of the modules named.

    micropython run.py test_something test_other

MicroPython has no unittest and none installs; the same files are collected by pytest on CPython.
Prints one line a failure and a closing line; the exit code is 1 if anything failed.
"""

import sys


class Skipped(Exception):
    """Raised by a test that cannot run here; its text is the reason."""


def run_module(name):
    """Run the tests of one module; returns (passed, failed, skipped)."""
    passed = failed = skipped = 0
    module = __import__(name)
    for test_name in sorted(dir(module)):
        if not test_name.startswith("test_"):
            continue
        try:
            getattr(module, test_name)()
            passed += 1
        except Exception as error:
            if type(error).__name__ == "Skipped":
                skipped += 1
                print("SKIPPED %s.%s: %s" % (name, test_name, error))
                continue
            failed += 1
            print("FAILED %s.%s" % (name, test_name))
            if hasattr(sys, "print_exception"):
                sys.print_exception(error)
            else:
                import traceback

                traceback.print_exception(error)
    return passed, failed, skipped


def main(names):
    total = [0, 0, 0]
    for name in names:
        for i, n in enumerate(run_module(name)):
            total[i] += n
    print("%d passed, %d failed, %d skipped" % tuple(total))
    return 1 if total[1] or not sum(total) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
