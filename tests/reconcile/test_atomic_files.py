"""Files written whole or not at all, and locks between processes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest

from extract.errors import ExtractError
from extract.process_lock import hold
from reconcile.atomic_files import held, write_whole

HOLDER = "import sys, time\n{}\n    print('held', flush=True)\n    time.sleep(60)\n"
HELD = "from pathlib import Path\nfrom reconcile.atomic_files import held\nwith held(Path(sys.argv[1]), 0):"
HOLD = (
    "from pathlib import Path\nfrom extract.process_lock import hold\nwith hold(Path(sys.argv[1]), 'job one', 'busy'):"
)


def holder(code: str, path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock of ``path``."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER.format(code), path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_text_and_function_write_the_same_file(tmp_path: Path) -> None:
    contents: list[str | Callable[[TextIO], object]] = ["ä\n", lambda file: file.write("ä\n")]
    for content in contents:
        write_whole(tmp_path / "new" / "a.txt", content)
        assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "ä\n"
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    def fail(file: TextIO) -> None:
        file.write("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(tmp_path / "a.txt", fail)
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_killed_process_releases_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    process = holder(HELD, path)
    with held(path, 0.2) as taken:
        assert not taken
    process.kill()
    process.wait()
    with held(path, 1.0) as taken:
        assert taken
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"), held(path, 0.2):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_lock_file_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.lock"
    process = holder(HOLD, path)
    with (
        pytest.raises(ExtractError, match=rf"^busy \(job one, process {process.pid}, since 20\d\d-"),
        hold(path, "", "busy"),
    ):
        pass
    process.kill()
    process.wait()
    with hold(path, "job two", "busy", wait=1.0):
        assert path.read_text().startswith(f"job two, process {os.getpid()}, since 20")
    assert path.read_text() == ""


def test_unwritable_lock_file_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ExtractError, match=r"^cannot write .*a\.lock \(.+\): fix its permissions"),
        hold(tmp_path / "file" / "a.lock", "", ""),
    ):
        pass
