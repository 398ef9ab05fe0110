# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys of a run, and the archive with which they come into the guest."""

from __future__ import annotations

import io
import stat

import paramiko

from snp_harness.tools.linux_guest.keys import RunKeys
from tests.tools.initramfs.archive import read


def test_the_guest_has_its_own_key_and_the_clients_public_one() -> None:
    keys = RunKeys()
    entries = {entry.name: entry for entry in read(keys.archive())}
    assert entries["root/.ssh/authorized_keys"].data.decode().strip() == keys.client.public
    private = entries["etc/ssh/ssh_host_ed25519_key"]
    assert stat.S_IMODE(private.mode) == 0o600
    read_back = paramiko.Ed25519Key(file_obj=io.StringIO(private.data.decode()))
    assert f"{read_back.get_name()} {read_back.get_base64()}" == keys.host.public
    assert stat.S_IMODE(entries["root/.ssh"].mode) == 0o700
    # The client's private key stays outside.
    assert all(keys.client.private not in entry.data for entry in entries.values())


def test_every_run_has_its_own() -> None:
    one, other = RunKeys(), RunKeys()
    assert len({one.client.public, one.host.public, other.client.public, other.host.public}) == 4
    assert "PRIVATE" not in repr(one)
