from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock, Timeout

from streamseg.locks import remove_and_release


def test_a_removed_lock_leaves_no_file_and_still_excludes(tmp_path: Path) -> None:
    first, waiting, third = (FileLock(tmp_path / "a.lock", thread_local=False) for _ in range(3))
    first.acquire()
    thread = Thread(target=waiting.acquire, args=(10,))
    thread.start()
    remove_and_release(first)
    thread.join(10)
    with pytest.raises(Timeout):
        third.acquire(timeout=0)
    remove_and_release(waiting)
    assert list(tmp_path.iterdir()) == []
