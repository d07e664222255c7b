"""torch's number of threads within and after a block that is to compute on one."""

import pytest
import torch

from forethought.evals.threads import one_thread as on_one_thread


def test_it_is_one_within_the_block_and_what_it_was_afterwards():
    torch.set_num_threads(2)
    try:
        with on_one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), on_one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
