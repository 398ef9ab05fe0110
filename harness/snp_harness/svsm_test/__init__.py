# SPDX-License-Identifier: GPL-2.0-or-later
"""In-SVSM test images: running one, answering its questions, and its plain lines as results."""
