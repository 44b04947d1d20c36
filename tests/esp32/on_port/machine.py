"""Of MicroPython's machine module what main.py takes."""


def reset():
    print("RESET")
    raise SystemExit
