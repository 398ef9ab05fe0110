# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiles files of the standard library of the image's Python, which runs this file instead of the harness's Python.

argv[1]: a file with a JSON list of [source, target, name in tracebacks]. The output depends on the sources only.
"""

import json
import py_compile
import sys
from pathlib import Path


def main() -> None:
    """Compile all files; the first error ends the program."""
    for source, target, name in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        py_compile.compile(
            source,
            cfile=target,
            dfile=name,
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


if __name__ == "__main__":
    main()
