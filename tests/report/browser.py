# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens pages in headless Chromium, with a script that looks at them, and returns what the script found."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from bench.page import dump_dom

#: Seconds of the page's own clock, which runs as fast as it can.
_BUDGET_MS = 20_000
_DARK = "--blink-settings=preferredColorScheme=0"
#: Before all scripts of the page: errors, and what the policy refuses, are found in `probe.errors`.
_HEAD = """\
window.probe = { errors: [] };
addEventListener("error", (event) => probe.errors.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => probe.errors.push(`refused: ${event.violatedDirective}`));
"""
_TAIL = """\
(async () => {
  await new Promise((done) => setTimeout(done, 100));
  const found = await (async () => { %s })().catch((error) => ({ error: String(error) }));
  document.documentElement.dataset.probe = JSON.stringify({ ...found, errors: probe.errors });
})();
"""
#: Has the faults of accessibility that axe-core finds, for a page with the library of axe().
AXE_FAULTS = """
const seen = await axe.run(document);
const faults = seen.violations.map((v) => [v.impact, v.id, v.nodes.map((n) => n.html.slice(0, 120))]);
"""


def axe() -> str:
    """The script of axe-core."""
    return files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def chromium() -> str:
    """The path of the browser. Skips the test without one."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium (make test-slow does it)")
    return found


def look(page: str, script: str, directory: Path, *, libraries: tuple[str, ...] = (), dark: bool = False) -> Any:
    """Open a page, run the body of an asynchronous function in it, and return the object that it returns.

    "errors" has the errors of the page's scripts. libraries: scripts that are run before. The page is as it was but for
    these scripts, which its policy allows by their hashes.
    """
    added = [_HEAD, *libraries, _TAIL % script]
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in added)
    page = page.replace("script-src ", f"script-src {hashes} ", 1)
    page = page.replace("<title>", f"<script>{_HEAD}</script><title>", 1)
    tail = "".join(f"<script>{text}</script>" for text in added[1:])
    end = page.rindex("</body>")
    path = directory / "page.html"
    path.write_text(page[:end] + tail + page[end:], encoding="utf-8")
    options = ["--disable-dev-shm-usage", "--window-size=1300,1000", f"--virtual-time-budget={_BUDGET_MS}"]
    dom = dump_dom(chromium(), path, directory / "profile", *options, *([_DARK] if dark else []))
    match = re.search(r'data-probe="([^"]*)"', dom)
    assert match is not None, dom[:2000]
    return json.loads(html.unescape(match[1]))
