# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness rules`: the rules of the contract, and what each asserts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import name_argument
from snp_harness.errors import EXIT_HOLDS

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands


def add_parser(commands: Commands) -> None:
    """Add `rules` to the command line."""
    parser = commands.add_parser("rules", allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", allow_abbrev=False, help="the rules, in a line each")
    explain = actions.add_parser("explain", allow_abbrev=False, help="what rules assert, and why")
    explain.add_argument("rules", metavar="RULE", type=name_argument, nargs="+", help="a rule's name")


def execute(options: argparse.Namespace) -> int:
    """Print the rules and return the exit status. Raises UsageError."""
    from snp_harness.apic.contract import REQUIRED, RULES, explained
    from snp_harness.platforms.platform import check_rules

    if options.action == "list":
        for rule in RULES:
            asserted = " ".join(explained(rule).partition("\n\n")[0].split())
            print(f"{rule.name}{' (required)' if rule.name in REQUIRED else ''}\n    {asserted}")
        return EXIT_HOLDS
    named = check_rules(options.rules)
    for number, rule in enumerate(rule for rule in RULES if rule.name in named):
        print(f"{chr(10) if number else ''}{rule.name}\n\n{explained(rule)}")
        if rule.name in REQUIRED:
            print('\nRequired: without it there is no "holds".')
    return EXIT_HOLDS
