# SPDX-License-Identifier: GPL-2.0-or-later
"""How the program ends: its functions of atexit are called, its output is written, and nothing is freed one by one."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

BEGIN = """
import atexit, sys, threading, time
import snp_harness.__main__ as program

class Freed:
    def __del__(self):
        print("freed", flush=True)

freed = Freed()

def other():
    time.sleep(0.05)
    print("thread")
"""


def run(main: str) -> subprocess.CompletedProcess[str]:
    text = BEGIN + textwrap.dedent(main) + "program.main = main\nsys.exit(program.command())\n"
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=300, check=False)


def test_the_end_of_a_command() -> None:
    done = run(
        """
        def main():
            atexit.register(print, "atexit")
            threading.Thread(target=other).start()
            print("report")
            return 3
        """
    )
    assert (done.returncode, done.stdout.split()) == (3, ["report", "thread", "atexit"])


@pytest.mark.parametrize("end", ["sys.exit(2)", "raise RuntimeError('a defect')"])
def test_the_end_of_a_command_that_returns_no_status(end: str) -> None:
    done = run(f"def main():\n    {end}\n")
    assert (done.returncode, done.stdout) == (2 if "exit" in end else 1, "freed\n")
