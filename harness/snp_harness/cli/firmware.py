# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness firmware`: build firmware from edk2's source."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import name_argument, path_argument, positive_int
from snp_harness.cli.resources import notify
from snp_harness.defaults import DEFAULT_SOURCE
from snp_harness.errors import EXIT_HOLDS, UsageError

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands
    from snp_harness.edk2.images import BuiltImage
    from snp_harness.edk2.recipe import Recipe

EPILOG = "exit status: 0 built, 2 usage or a source that does not build, 128 and up: broken environment"


def add_parser(commands: Commands) -> None:
    """Add `firmware` and its own commands to the command line."""
    parser = commands.add_parser("firmware", allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser(
        "build",
        help="build an image, or find it in the cache; prints its path",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    build.add_argument(
        "--source",
        metavar="S",
        type=name_argument,
        default=DEFAULT_SOURCE,
        help="debian:SUITE, or a directory of edk2, which is only read; default: %(default)s",
    )
    add_recipe_options(build)
    build.add_argument("--series", metavar="FILE", type=path_argument, help="a patch series to apply to the source")
    build.add_argument(
        "--sec-only",
        action="store_true",
        help="build SEC only, in seconds; the rest is that of the last complete build",
    )
    build.add_argument("--out", metavar="DIR", type=path_argument, help="copy the image and its halves to DIR")
    build.add_argument("--json", action="store_true", help="print as JSON what was built, and from what")
    build.add_argument("--quiet", action="store_true", help="print no progress on stderr")
    source = actions.add_parser("source", help="fetch the source that a Debian suite has now", allow_abbrev=False)
    source.add_argument("source", metavar="SOURCE", nargs="?", default=DEFAULT_SOURCE, help="default: %(default)s")


def add_recipe_options(parser: argparse.ArgumentParser, platform: str = "--platform") -> None:
    """Add the options for how a source is built. platform: the option's name where --platform means something else."""
    parser.add_argument(
        platform,
        dest="build_platform",
        metavar="P",
        default="OvmfX64",
        help="platform of edk2: OvmfX64 (default), AmdSevX64, IntelTdxX64, OvmfIa32X64 or CloudHvX64",
    )
    parser.add_argument(
        "--target", metavar="T", default="DEBUG", help="build target: DEBUG (default), RELEASE or NOOPT"
    )
    parser.add_argument(
        "--toolchain", metavar="C", default="GCC", help="tool chain of edk2: GCC (default) or CLANGDWARF"
    )
    parser.add_argument(
        "--define", metavar="K=V", action="append", default=[], help="definition for edk2's build -D; may be repeated"
    )
    parser.add_argument(
        "--build-jobs", metavar="N", type=positive_int, help="parallel jobs of a build; default: as many as processors"
    )


def recipe_of(options: argparse.Namespace) -> Recipe:
    """Return the recipe of the options that add_recipe_options added. Raises FirmwareError."""
    from snp_harness.edk2.recipe import Recipe

    return Recipe.of(options.build_platform, options.target, tuple(options.define), options.toolchain)


def execute(options: argparse.Namespace) -> int:
    """Build or fetch, and return the exit status. Raises HarnessError."""
    return {"build": _build, "source": _source}[options.action](options)


def _build(options: argparse.Namespace) -> int:
    from snp_harness.cli.progress import BuildProgress
    from snp_harness.edk2.build import build_firmware
    from snp_harness.edk2.images import copy_image

    recipe = recipe_of(options)
    if options.out is not None:
        # First, because the build takes minutes.
        _make_out(options.out)
    with BuildProgress(recipe.platform.modules, quiet=options.quiet) as progress:
        image = build_firmware(
            options.source,
            recipe,
            options.series,
            progress,
            progress.module,
            sec_only=options.sec_only,
            jobs=options.build_jobs,
        )
    path = image.path if options.out is None else copy_image(image, options.out)
    _print(image, path, options)
    return EXIT_HOLDS


def _make_out(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "it is not a directory" if isinstance(error, FileExistsError) else error.strerror
        raise UsageError(f"cannot write to {path}: {why}", "name another directory with --out") from None


def _print(image: BuiltImage, path: Path, options: argparse.Namespace) -> None:
    import json

    print(json.dumps({"path": str(path), **image.manifest}, indent=2) if options.json else path)


def _source(options: argparse.Namespace) -> int:
    from snp_harness.edk2.debian_source import debian_commit, fetch_source
    from snp_harness.edk2.source import debian_suite

    package = fetch_source(debian_suite(options.source), notify)
    debian_commit(package, notify)
    print(package.directory)
    return EXIT_HOLDS
