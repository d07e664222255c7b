"""What a journal's file keeps of the types of numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from forethought.planning import Returns, SequenceQuery
from forethought.planning.journal import load, save


@pytest.mark.parametrize(
    ("written", "read"),
    [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)],
)
def test_tensors_come_back_with_their_numbers_and_types(
    tmp_path: Path, written: torch.dtype, read: torch.dtype
) -> None:
    numbers = torch.tensor([[[[1 / 3], [1e-7]]]], dtype=torch.float64).to(written)
    query = SequenceQuery(np.array([0], np.int32), numbers, np.array([2**63 + 5], np.uint64))
    answer = Returns(numbers[..., 0])
    save([("ask", np.array([7], np.int32), query), ("tell", query, answer)], tmp_path / "journal.npz")
    (_, remaining, asked), (_, told, found) = load(tmp_path / "journal.npz")
    assert asked.sequences.dtype == found.returns.dtype == read and told is asked
    assert torch.equal(asked.sequences, numbers.to(read)) and torch.equal(found.returns, numbers[..., 0].to(read))
    assert asked.keys.tolist() == [2**63 + 5] and remaining.tolist() == [7]
