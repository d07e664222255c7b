"""Record and replay of generations: every step and score of a run, stored by what was requested.

- `tape.py`: `Tape` and the stores of its records; it knows keys and bytes only.
- `records.py`: keys of requests, and the binary form of steps and scores.
- `cached_engine.py`: `CachedEngine`, an engine behind a tape.
- `recorded_model.py`: what a tape stores in place of a model.
- `sqlite.py`: `TapeFile`, a store in a file that several processes share.
"""
