# SPDX-License-Identifier: GPL-2.0-or-later
"""Pieces of pages. Text from outside passes `text`; data for scripts passes `data_block`."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from snp_harness.apic.verdict import Status
from snp_harness.report.text import escape

#: Words of a status as names of classes.
STATUS_CLASS = {
    Status.HOLDS: "holds",
    Status.VIOLATED: "violated",
    Status.INCONCLUSIVE: "inconclusive",
    Status.NOT_APPLICABLE: "not-applicable",
}


def asset(name: str) -> str:
    """Return a file of the package's assets."""
    return files("snp_harness.report.html").joinpath("assets", name).read_text(encoding="utf-8")


def text(value: object, maximum: int | None = None) -> str:
    """Return text from outside as HTML: nothing in it is markup, control characters are shown as escapes."""
    return html.escape(escape(str(value), maximum))


def data_block(name: str, value: Any) -> str:
    """Return a block of JSON for scripts, in which nothing can end the block."""
    data = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    # Inside of JSON these characters are only in strings.
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{data}</script>\n'


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], caption: str, name: str = "") -> str:
    """Return a table. headings: plain text. rows: cells of HTML, the first of each the row's heading."""
    identity = f' id="{name}"' if name else ""
    head = "".join(f'<th scope="col">{html.escape(heading)}</th>' for heading in headings)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table: {html.escape(caption)}">'
        f"<table{identity}><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>\n"
    )


def badge(kind: str, words: str) -> str:
    """Return a result in a word or two. kind: the class that gives it its colour."""
    return f'<span class="status {kind}">{text(words)}</span>'


def section(name: str, heading: str, content: str) -> str:
    """Return a part of the page, to which #name leads. heading, content: HTML."""
    return (
        f'<section id="{name}" aria-labelledby="{name}-heading"><h2 id="{name}-heading">{heading}</h2>\n'
        f"{content}</section>\n"
    )


def searched_table(label: str, choices: Iterable[str], shown: str) -> str:
    """Return a table of the name "list" below what index.js filters it with.

    label, choices: of its second column, whose cells are compared with the choice. shown: the table.
    """
    options = "".join(f"<option>{choice}</option>" for choice in choices)
    return (
        '<div class="find" hidden><label>Search <input id="find" type="search"></label> '
        f'<label>{label} <select id="outcome"><option value="">all</option>{options}</select></label>'
        f' <span id="said" role="status"></span></div>\n{shown}'
    )


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Return a list of names and values; the values are HTML."""
    return (
        "<dl>" + "".join(f"<div><dt>{html.escape(name)}</dt><dd>{value}</dd></div>" for name, value in rows) + "</dl>\n"
    )


def page(title: str, body: str, scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Return a page that runs these scripts and uses these styles, and for which a browser loads nothing else."""
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_hash, scripts))}",
            f"style-src {' '.join(map(_hash, styles))}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    head = "".join(f"<style>{style}</style>\n" for style in styles)
    tail = "".join(f"<script>{script}</script>\n" for script in scripts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n{head}</head>\n<body>\n{body}{tail}</body>\n</html>\n"
    )


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
