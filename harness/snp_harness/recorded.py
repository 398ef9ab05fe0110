# SPDX-License-Identifier: GPL-2.0-or-later
"""A recorded run: its timeline, and its report, for which the timeline is judged again.

A run directory has its timeline; of a run whose harness was killed it is made again from the raw log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snp_harness.defaults import PROGRAM
from snp_harness.errors import UsageError
from snp_harness.vm import rundir
from snp_harness.vm.run_lock import in_use

if TYPE_CHECKING:
    from snp_harness.apic.activity import Activity
    from snp_harness.apic.source_place import SourcePlace
    from snp_harness.apic.timeline import Timeline
    from snp_harness.report.model import Report, RunInfo

#: Bytes of environment.json that are read.
_SIZE_MAX = 1 << 20
#: Bytes of sources.json that are read.
_SOURCES_SIZE_MAX = 16 << 20
#: Names of the command in argv: the program, and `python -m snp_harness`.
_PROGRAMS = (PROGRAM, "__main__.py")


def load_timeline(path: Path) -> Timeline:
    """Return the timeline of a run directory, or of a timeline.jsonl. Raises UsageError."""
    from snp_harness.apic.timeline import Timeline, bounded_lines

    if path.is_dir():
        path = path / rundir.TIMELINE
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return Timeline.from_jsonl(bounded_lines(stream), str(path))
    except OSError as error:
        from snp_harness.platforms.kept_run import rebuild

        rebuilt = rebuild(path.parent) if isinstance(error, FileNotFoundError) else None
        if rebuilt is None:
            raise UsageError(
                f"cannot read {path}: {error.strerror}", f"name a run directory or its {rundir.TIMELINE}"
            ) from None
        return rebuilt


def follow_timeline(directory: Path, wait: Callable[[], object]) -> Iterator[Timeline]:
    """Yield the timeline of a run again and again while it goes on, and at last the whole one.

    wait: called before the log is read again. Raises UsageError for a run without a raw log.
    """
    from snp_harness.platforms.kept_run import open_log

    log = None
    while in_use(directory) and not (directory / rundir.TIMELINE).exists():
        log = log or open_log(directory)
        if log is not None:
            log.more()
            yield log.timeline()
        wait()
    yield load_timeline(directory)


def load_report(path: Path, rules: tuple[str, ...] = ()) -> Report:
    """Return the report of a run directory, or of a timeline.jsonl in one, judged again.

    rules: the only ones that are judged; empty: those of the run. Raises UsageError.
    """
    from snp_harness.apic.contract import evaluate
    from snp_harness.platforms import find_platform, platform_names
    from snp_harness.report.model import Report

    timeline = load_timeline(path)
    directory = path if path.is_dir() else path.parent
    info, as_if_active, chosen = _information(directory)
    observed_on = ""
    if timeline.platform in platform_names():
        platform = find_platform(timeline.platform)
        observed_on = platform.observed_on
        as_if_active = not platform.alternate_injection if as_if_active is None else as_if_active
    verdict = evaluate(timeline, observed_on=observed_on, as_if_active=bool(as_if_active), chosen=rules or chosen)
    return Report(verdict, timeline, info, sources=_sources(directory), activity=lambda: load_activity(directory))


def load_activity(directory: Path) -> Activity | None:
    """Return what the raw log of a run on `emulated` has between the accesses, None where there is no such log."""
    from snp_harness.capture.activity_log import read_activity
    from snp_harness.platforms.kept_run import RecordFile

    path = directory / rundir.HOST_LOG
    if not path.is_file():
        return None
    after = (_facts(directory / rundir.ENVIRONMENT) or {}).get("after_goal")
    records = after.get("records_before") if isinstance(after, dict) else None
    return read_activity(RecordFile(path, records if type(records) is int else None).read())


def rerun(arguments: Sequence[str], variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return the command that repeats a run. variables: of the environment, that it depends on."""
    settings = [f"{name}={value}" for name, value in variables.items()]
    return (*(["env", *settings] if settings else []), PROGRAM, *arguments)


def _information(directory: Path) -> tuple[RunInfo, bool | None, tuple[str, ...]]:
    """Return what the directory says of how the run was made, whether it was judged as if active, and by which rules.

    Raises UsageError.
    """
    from snp_harness.platforms.kept_run import asked_for
    from snp_harness.platforms.platform import check_rules
    from snp_harness.report.model import RunInfo

    facts = _facts(directory / rundir.ENVIRONMENT)
    if facts is None:
        firmware, assumed = asked_for(directory)
        return RunInfo(firmware=firmware, directory=directory.absolute()), assumed, ()
    seconds = facts.get("seconds")
    assumed = facts.get("as_if_active")
    info = RunInfo(
        firmware=_text(facts, "firmware"),
        configuration=_text(facts, "configuration"),
        qemu=_text(facts, "qemu"),
        directory=directory.absolute(),
        rerun=_rerun(facts),
        elapsed_s=seconds if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) else None,
        error=_text(facts, "error"),
        notes=_after_goal(facts),
    )
    rules = facts.get("rules", [])
    chosen = check_rules(rules) if isinstance(rules, list) else ()
    return info, assumed if isinstance(assumed, bool) else None, chosen


def _sources(directory: Path) -> tuple[SourcePlace, ...]:
    """Return the source lines that the directory has. Raises UsageError."""
    from snp_harness.apic.source_place import PLACES_MAX, SourcePlace

    path = directory / rundir.SOURCES
    try:
        with path.open("rb") as file:
            listed = json.loads(file.read(_SOURCES_SIZE_MAX))["sources"]
        return tuple(map(SourcePlace.from_json, listed[:PLACES_MAX]))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UsageError(f"{path} has no source lines", "remove it to have a report without them") from None


def _facts(path: Path) -> dict[str, Any] | None:
    """Return what environment.json has, None if there is none. Raises UsageError."""
    try:
        with path.open("rb") as file:
            facts = json.loads(file.read(_SIZE_MAX))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise UsageError(f"{path} does not describe a run", "remove it to judge the timeline without it")
    return facts


def _after_goal(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the note about what was seen after the run's goal, if there is one."""
    after = facts.get("after_goal")
    note = _text(after, "note") if isinstance(after, dict) else None
    return () if note is None else (note,)


def _text(facts: Mapping[str, Any], key: str) -> str | None:
    return value if isinstance(value := facts.get(key), str) else None


def _rerun(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the command of a recorded run; empty if it was made by another program, such as pytest."""
    argv, variables = facts.get("argv"), facts.get("variables", {})
    if not isinstance(argv, list) or len(argv) < 2 or not all(isinstance(part, str) for part in argv):
        return ()
    if Path(argv[0]).name not in _PROGRAMS or argv[1] != "run" or not isinstance(variables, dict):
        return ()
    return rerun(argv[1:], {name: value for name, value in variables.items() if isinstance(value, str)})
