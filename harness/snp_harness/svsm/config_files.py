# SPDX-License-Identifier: GPL-2.0-or-later
"""SVSM configurations as files: how they are found and read, and what a message says about one that is wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from snp_harness.data import data_file
from snp_harness.errors import UsageError
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.keys import Key, keys
from snp_harness.svsm.sections import SvsmKind

#: The configuration of `snp-harness run` without --svsm-config.
DEFAULT_CONFIG = "alternate-injection"
#: Longest configuration file, bytes.
FILE_MAX = 1 << 16
#: Where the shipped configurations are.
SHIPPED_DIRECTORY = data_file("svsm_configs")


class ConfigError(UsageError):
    """A configuration cannot be used; the message names the file, the key and its valid values."""


def shipped_configs() -> dict[str, Path]:
    """Return the configurations that come with the harness, by name."""
    return {path.stem: path for path in sorted(SHIPPED_DIRECTORY.glob("*.toml"))}


def find_config(spec: str | Path) -> Path:
    """Return the file of a name or a path. Raises ConfigError.

    A bare name, without a slash or a suffix, is one of the shipped configurations.
    """
    if isinstance(spec, str) and "/" not in spec and not spec.endswith(".toml"):
        shipped = shipped_configs()
        if spec in shipped:
            return shipped[spec]
        from snp_harness.nearest import known_names

        hint = known_names(spec, shipped) if shipped else "there are none: the installation is broken"
        raise ConfigError(f"no configuration is named {spec!a}", f"{hint}, or name a TOML file")
    return Path(spec)


def load_config(spec: str | Path = DEFAULT_CONFIG) -> SvsmConfig:
    """Return the configuration of a shipped name or a file. Raises ConfigError in one line."""
    path = find_config(spec)
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "use a TOML file as in svsm_configs/") from None
    if len(data) > FILE_MAX:
        raise ConfigError(f"{path} is larger than {FILE_MAX} bytes", "use a TOML file as in svsm_configs/")
    return _resolved(parse_config(data, str(path)), path.parent)


def _resolved(config: SvsmConfig, directory: Path) -> SvsmConfig:
    """The configuration with paths that are relative to its own directory made absolute."""
    if not config.svsm.igvm:
        return config
    igvm = str(directory.absolute() / config.svsm.igvm)
    return structs.replace(config, svsm=structs.replace(config.svsm, igvm=igvm))


def with_igvm(config: SvsmConfig, igvm: Path, *, alternate_injection: bool | None = None) -> SvsmConfig:
    """Return the configuration with an IGVM file's SVSM. alternate_injection: None to leave it as it is.

    Raises ConfigError for a configuration without an SVSM.
    """
    if not config.present:
        raise ConfigError(f"{igvm} has an SVSM, and the configuration has none", "leave out --igvm or --svsm-config")
    use = config.alternate_injection if alternate_injection is None else alternate_injection
    section = structs.replace(
        config.svsm, kind=SvsmKind.IGVM, igvm=str(igvm.expanduser().absolute()), alternate_injection=use
    )
    return structs.replace(config, svsm=section)


def parse_config(data: bytes, name: str) -> SvsmConfig:
    """Return the configuration in a TOML file's bytes. name: the file's, for messages. Raises ConfigError."""
    try:
        values = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{name} is not TOML: {_one_line(str(error))}") from None
    try:
        return msgspec.convert(values, SvsmConfig)
    except msgspec.ValidationError as error:
        # If every key is valid by itself, the message is that of SvsmConfig's own check.
        raise ConfigError(f"{name}: {_explain(values) or error}") from None


def _explain(values: dict[str, Any]) -> str | None:
    """The first problem in one line: key, value and valid values; None if each key by itself is valid."""
    sections: dict[str, dict[str, Key]] = {}
    for entry in keys(SvsmConfig):
        sections.setdefault(entry.section, {})[entry.name] = entry
    for section, given in values.items():
        known = sections.get(section)
        if known is None:
            names = ", ".join(f"[{name}]" for name in sections)
            return f"unknown section {_one_line(section)}: {_did_you_mean(section, sections)}the sections are {names}"
        if not isinstance(given, dict):
            return f"{section} is a section: write [{section}] and its keys {', '.join(known)} below it"
        for name, value in given.items():
            if name not in known:
                near = _did_you_mean(name, known)
                return f"unknown key {section}.{_one_line(name)}: {near}the keys of [{section}] are {', '.join(known)}"
            if not _fits(value, known[name].type):
                return f"{section}.{name} = {_shown(value, known[name].type)}: expected {known[name].allowed}"
    return None


def _fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _shown(value: object, kind: Any) -> str:
    """An invalid value as shown in a message; of a list, its first invalid element."""
    if isinstance(value, list):
        value = next((element for element in value if not _fits([element], kind)), value)
    try:
        return _one_line(repr(value))
    except ValueError:
        return "a huge number"  # more digits than Python writes (sys.set_int_max_str_digits)


def _did_you_mean(given: str, names: Iterable[str]) -> str:
    from snp_harness.nearest import nearest

    near = nearest(given, names)
    return f"did you mean {near}? " if near else ""


def _one_line(text: str) -> str:
    escaped = ascii(" ".join(text.split()))[1:-1]
    return escaped if len(escaped) <= 120 else escaped[:117] + "..."
