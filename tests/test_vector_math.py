"""The first vector mathematics of a process, made by two threads at once, is as exact as what comes later."""

import os
import subprocess
import sys

import pytest

_PROCESSES = 1500  # without the module one in a hundred differed

_RACE = """
import os, sys, threading
import torch
{before}
sys.setswitchinterval(1e-6)
torch.set_num_threads(1)
numbers = torch.linspace(1e-3, 1, 20_000)

def differs():
    ready, answers = [], []
    def compute():
        room = torch.empty_like(numbers)
        ready.append(True)
        while len(ready) < 2:
            pass
        answers.append(torch.exp(numbers, out=room))
    other = threading.Thread(target=compute)
    other.start()
    compute()
    other.join()
    later = torch.exp(numbers)
    return not all(torch.equal(answer, later) for answer in answers)

wrong = 0
for _ in range({processes}):
    child = os.fork()
    if not child:
        os._exit(differs())
    wrong += os.waitpid(child, 0)[1] != 0
print(wrong)
"""


def wrong_processes(before: str, processes: int = _PROCESSES) -> int:
    """How many of so many processes, each of which is the first to compute, differ from themselves later."""
    code = _RACE.format(before=before, processes=processes)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow  # 20 s
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that share their imports")
def test_the_first_mathematics_of_a_process_is_exact():
    assert wrong_processes("import worldgen.types") == 0
