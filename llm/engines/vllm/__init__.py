"""The engine on vLLM, whose processes this process starts and stops.

- `thread.py`: vLLM's `AsyncLLM` on a thread with its own event loop, and the end of its processes.
- `outputs.py`: vLLM's outputs split into steps, or read as scores.
- `engine.py`: `VllmEngine`.
- `reward.py`: reward models on vLLM.
"""
