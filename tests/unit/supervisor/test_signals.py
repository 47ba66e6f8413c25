"""The parent's only wait. Each test is a process of its own: signals would reach the test runner, too."""

import subprocess
import sys

HEAD = """
import os, signal, subprocess, sys, time
from multiworker.supervisor import signals
signals.block()
me = os.getpid()

def at_rest(pid):
    while True:
        with open(f"/proc/{pid}/stat") as stat:
            if stat.read().rpartition(")")[2].split()[0] in "ST":
                return
"""


def run(script: str) -> str:
    """Run a process with its signals blocked, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", HEAD + script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_signal_says_what_and_from_whom() -> None:
    script = """
os.kill(me, signal.SIGHUP)
(arrival,) = signals.arrivals(30)
print(arrival == signals.Arrival(signal.SIGHUP, me, os.getuid(), by_kernel=False))
"""
    assert run(script) == "True\n"


def test_every_control_signal_arrives_once_however_often_it_was_sent() -> None:
    script = """
for number in signals.CONTROL:
    for _ in range(5):
        os.kill(me, number)
print({arrival.number for arrival in signals.arrivals(30)} == signals.CONTROL)
print(list(signals.arrivals(0)))
"""
    assert run(script) == "True\n[]\n"


def test_a_wait_ends_without_a_signal() -> None:
    assert (
        run("print(list(signals.arrivals(0.01)), list(signals.arrivals(0)), list(signals.arrivals(-1)))")
        == "[] [] []\n"
    )


def test_a_wait_ends_with_the_first_signal() -> None:
    script = """
os.posix_spawnp("sh", ["sh", "-c", f"kill -USR1 {me}"], os.environ)
print([arrival.number.name for arrival in signals.arrivals(600) if arrival.number != signal.SIGCHLD] or
      [arrival.number.name for arrival in signals.arrivals(600)])
"""
    assert run(script) == "['SIGUSR1']\n"


def test_the_end_of_a_child_is_told_by_the_kernel() -> None:
    script = """
if os.fork() == 0:
    os._exit(0)
(arrival,) = signals.arrivals(30)
print(arrival.number.name, arrival.by_kernel)
"""
    assert run(script) == "SIGCHLD True\n"


def test_a_storm_is_handed_over_in_portions() -> None:
    script = """
storm = subprocess.Popen([sys.executable, "-c", f"import os\\nwhile True: os.kill({me}, 10)"])
count = max(len(list(signals.arrivals(30))) for _ in range(200))
storm.kill()
print(0 < count <= signals.MOST_AT_ONCE)
"""
    assert run(script) == "True\n"


def test_a_process_that_is_stopped_while_it_waits_gets_no_signal_that_nobody_sent() -> None:
    # CPython's sigtimedwait returns what lies on the stack then
    script = """
if os.fork() == 0:
    for _ in range(3):
        at_rest(me)
        os.kill(me, signal.SIGSTOP)
        time.sleep(0.1)  # the wait's time must pass meanwhile
        os.kill(me, signal.SIGCONT)
    os._exit(0)
seen = set()
while signal.SIGCHLD not in seen:
    seen |= {arrival.number for arrival in signals.arrivals(0.05)}
print(seen == {signal.SIGCHLD})
"""
    assert run(script) == "True\n"


def test_a_stray_alarm_is_no_signal_to_act_on() -> None:
    assert run("os.kill(me, signal.SIGALRM)\nprint(list(signals.arrivals(30)))") == "[]\n"
