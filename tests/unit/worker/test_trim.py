"""Pages of files that a process gives up. Each case has a process of its own: a wrong page can end it."""

import subprocess
import sys
from pathlib import Path

from tests import memory

LOOK = """
import ctypes, mmap, os, resource, sys
from multiworker.worker.trim import trim
from tests.memory import resident_code
"""
ROOT = Path(memory.__file__).parent.parent


def look(program: str, *arguments: str) -> list[str]:
    run = [sys.executable, "-c", LOOK + program, *arguments]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


def test_code_of_a_library_is_given_up_and_comes_back() -> None:
    program = """
import _decimal
before = _decimal.Decimal(2).sqrt()
loaded = resident_code(os.getpid(), "decimal")
trim()
kept = resident_code(os.getpid(), "decimal")
print(loaded > 0, kept, _decimal.Decimal(2).sqrt() == before, resident_code(os.getpid(), "decimal") > 0)
"""
    assert look(program) == ["True", "0", "True", "True"]


def test_what_was_written_stays_although_it_cannot_be_written_any_more(tmp_path: Path) -> None:
    # given a file's page that was written, and then protected, as the dynamic linker does it
    program = """
libc = ctypes.CDLL(None)
with open(sys.argv[1], "r+b") as file:
    page = mmap.mmap(file.fileno(), mmap.PAGESIZE, mmap.MAP_PRIVATE)
page[:4] = b"mine"
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
assert libc.mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, mmap.PROT_READ) == 0
trim()
print(page[:4].decode())
"""
    (tmp_path / "file").write_bytes(b"file" * 1024)
    # when the process trims itself, then the page is as it was
    assert look(program, str(tmp_path / "file")) == ["mine"]


def test_a_process_that_cannot_look_at_itself_keeps_its_pages() -> None:
    program = """
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))  # no file can be opened any more
trim()
print("alive")
"""
    assert look(program) == ["alive"]
