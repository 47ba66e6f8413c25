"""The benchmark counts right, and runs from one end to the other."""

import json
import subprocess
import sys
from pathlib import Path

from bench.contenders import US
from bench.lib import session

ROOT = Path(__file__).parents[2]


COUNTING = """
import os, sys, threading
from pathlib import Path
from bench import meter
meter.SLOTS = int(sys.argv[2])
page = meter.Meter(Path(sys.argv[1]))

def fork(work):
    if os.fork() == 0:
        work()
        os._exit(0)

def everybody():
    threads = [threading.Thread(target=page.count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    page.count()
"""


def counted(page: Path, slots: int, code: str) -> str:
    """Run a program that counts, and return what it prints."""
    program = [sys.executable, "-c", COUNTING + code + "\nprint(page.total())", str(page), str(slots)]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def test_each_thread_of_each_process_counts_in_a_slot_of_its_own(tmp_path: Path) -> None:
    code = """
page.count()
end, keep = os.pipe()
told, tell = os.pipe()
for _ in range(2):
    fork(lambda: (everybody(), os.write(tell, b"."), os.close(keep), os.read(end, 1)))
everybody()
assert os.read(told, 1) + os.read(told, 1) == b".."
print(sorted(count for count in page._words[::8] if count))
os.close(keep)
"""
    slots, total = counted(tmp_path / "meter", 61, code).splitlines()  # all processes look at the same slot first
    assert slots == "[1, 1, 1, 1, 1, 1, 1, 1, 2]"
    assert total == "10"


def test_a_slot_is_free_again_when_its_process_has_ended(tmp_path: Path) -> None:
    code = """
for _ in range(20):
    fork(page.count)
    assert os.wait()[1] == 0
"""
    assert counted(tmp_path / "meter", 4, code) == "20"


def test_what_runs_beside_a_peer_needs_the_standard_library_alone() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import bench.meter, bench.push, bench.work"

    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_multiworker_is_measured_and_nothing_goes_on_afterwards(tmp_path: Path) -> None:
    out = tmp_path / "results"
    asked = ("--quick", "--rounds", "1", "--contenders", US, "--loads", "noop,kill,idle,latency", "--out", str(out))

    with subprocess.Popen([sys.executable, "-m", "bench.run", *asked], cwd=ROOT, stdout=subprocess.PIPE) as process:
        said, _ = process.communicate(timeout=100)

    document = json.loads(out.with_suffix(".json").read_text())
    measured = {key for key, figures in document["figures"].items() if figures.get(US)}
    assert document["failures"] == [], said.decode()
    assert measured >= {"noop", "memory_loaded", "restart", "start", "memory", "p50", "p99", "burst", "commands"}
    assert document["figures"]["restart"][US] != [None]
    assert "MISS" in said.decode() or process.returncode == 0
    assert out.with_suffix(".md").read_text() in said.decode()
    assert session(process.pid) == []
