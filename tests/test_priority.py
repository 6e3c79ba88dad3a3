"""Long runs step back for whatever else the machine does; among other tests they would wait for all of them."""

import subprocess
import sys
from pathlib import Path


def test_a_run_for_a_time_leaves_the_machine_to_others(tmp_path):
    command = f"train line-tiny --folder {tmp_path} --for 2s --n-prompts 8"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, sys, torch; from icl_lib.__main__ import main; "
            "status = main(sys.argv[1:]); "
            "print('niceness', os.nice(0), 'threads', torch.get_num_threads()); sys.exit(status)",
            *command.split(),
        ],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "niceness 19 threads 1" in done.stdout
    assert "of 2500 steps done" in done.stdout or "steps done; the same command" in done.stdout
