"""What the client scripts share: checks with names, run one after another, and a last line `N passed, M failed`."""

import sys
import traceback

CHECKS = []


def check(function):
    """Registers a check; its docstring is its name."""
    CHECKS.append(function)
    return function


def expect(actual, expected):
    assert actual == expected, f"{actual!r} is not {expected!r}"


def expect_in(part, text):
    assert part in text, f"{part!r} is not in {text!r}"


def run(target):
    """Runs all checks with `target`; answers the exit code: 0 only when none failed."""
    failed = 0
    for function in CHECKS:
        try:
            function(target)
            print(f"ok      {function.__doc__}")
        except Exception:
            failed += 1
            print(f"FAILED  {function.__doc__}")
            traceback.print_exc(file=sys.stdout)
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0
