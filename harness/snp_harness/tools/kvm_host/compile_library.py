# SPDX-License-Identifier: GPL-2.0-or-later
"""Run by the image's Python, not by the harness's: compiles files of its standard library.

argv[1]: a file with a JSON list of [source, target, name in tracebacks]. The same sources give the same bytes.
"""

import json
import py_compile
import sys
from pathlib import Path


def main() -> None:
    """Compile all; an error ends it."""
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
