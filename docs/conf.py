# SPDX-License-Identifier: GPL-2.0-or-later
"""Sphinx's configuration: `make docs` builds the pages of this directory, and the API reference, into build/docs."""

import snp_harness

project = "snp-harness"
author = "the snp-harness developers"
version = release = snp_harness.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns: list[str] = []
html_theme = "furo"
html_title = f"snp-harness {release}"
html_show_sphinx = False
html_show_copyright = False

# Anchors as a repository's browser makes them, so that one link serves both.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

# Docstrings are plain text with `code`.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

# A link that leads nowhere is an error. What is not public, or not ours, has no page to lead to.
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]
