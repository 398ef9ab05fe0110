# SPDX-License-Identifier: GPL-2.0-or-later
"""Returns the image of a source and a recipe, from the cache or built."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from snp_harness.debian.cache import Progress, silent
from snp_harness.edk2.images import BuiltImage, add_image, find_image, image_key
from snp_harness.edk2.recipe import Recipe, tool_chain
from snp_harness.edk2.runner import ModuleProgress
from snp_harness.edk2.sec import build_sec
from snp_harness.edk2.series import load_series
from snp_harness.edk2.source import Source, find_source
from snp_harness.edk2.source_errors import CompileError
from snp_harness.edk2.tools import Tools, find_tools
from snp_harness.edk2.workspaces import held, workspace_directory


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds sources with a recipe.

    slot: of the workspace, for builders that run at the same time. jobs: of make. symbols: images have their modules'
    debug files; one in the cache without them is built again.
    """

    recipe: Recipe
    tools: Tools
    progress: Progress = silent
    module: ModuleProgress | None = None
    slot: int = 0
    jobs: int = 0
    symbols: bool = False

    def key(self, source: Source, *, sec_only: bool = False) -> str:
        """Return the cache's key of a source's image. It includes the workspace's path, which is in DEBUG images."""
        place = workspace_directory(self.recipe, self.slot)
        return image_key(source.tree, self.recipe.key, self.tools.versions, str(place), sec_only)

    def build(self, source: Source, *, sec_only: bool = False) -> BuiltImage:
        """Return the image of a prepared source; raises SourceError if it does not build, else other HarnessErrors.

        sec_only: only SEC's volume has to be that of the source; the other volumes may be those of the last complete
        build here. A completely built image is returned as well.
        """
        cached = self._cached(source, sec_only)
        if cached is not None:
            return cached
        chain = tool_chain(source.store, source.tree, self.recipe.toolchain)
        jobs = self.jobs or os.cpu_count() or 1
        with held(source.store, self.recipe, chain, self.progress, self.slot) as workspace:
            # The process that had the workspace before may have built the same image.
            cached = self._cached(source, sec_only)
            if cached is not None:
                return cached
            started = time.monotonic()
            done = sec_only and build_sec(workspace, source.tree, self.tools, jobs)
            if not done:
                if sec_only:
                    self.progress("a complete build is needed first")
                try:
                    workspace.build(source.tree, self.tools, jobs, self.module, self.progress)
                except CompileError as error:
                    if not source.missing:
                        raise
                    raise CompileError(
                        f"{error.message}; submodules that are not there: {', '.join(source.missing)}",
                        f"run `git submodule update --init` in the source if it needs them; {error.hint}",
                    ) from None
            manifest = {
                "source": source.name,
                "tree": source.tree,
                "platform": self.recipe.platform.name,
                "target": self.recipe.target,
                "defines": dict(self.recipe.defines),
                "tool_chain": chain,
                "tools": list(self.tools.versions),
                "sec_only": done,
                "seconds": round(time.monotonic() - started, 1),
            }
            modules = workspace.output if self.symbols else None
            return add_image(self.key(source, sec_only=done), workspace.image, manifest, modules)

    def _cached(self, source: Source, sec_only: bool) -> BuiltImage | None:
        keys = (self.key(source), self.key(source, sec_only=True)) if sec_only else (self.key(source),)
        found = (find_image(key) for key in keys)
        return next((image for image in found if image is not None and (image.has_symbols or not self.symbols)), None)


def build_firmware(
    spec: str,
    recipe: Recipe,
    series: Path | None = None,
    progress: Progress = silent,
    module: ModuleProgress | None = None,
    *,
    sec_only: bool = False,
    jobs: int | None = None,
) -> BuiltImage:
    """Build the user's source with a series on top, or return its image from the cache."""
    patches = load_series(series) if series is not None else ()
    source = find_source(spec, progress).with_series(patches).prepared(recipe)
    builder = Builder(recipe, find_tools(progress, recipe.toolchain), progress, module, jobs=jobs or 0, symbols=True)
    return builder.build(source, sec_only=sec_only)
