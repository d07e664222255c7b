"""The default engine: continuous batching over a paged key-value cache, with models of the transformers library.

The parts have the names of nano-vllm's parts. The files, each after those that it imports:

- `exponentials.py`: the vectorised exponential that attention and sampling share.
- `attention.py`: attention of packed queries over paged keys and values, registered with transformers.
- `sampler.py`: tokens sampled with noise keyed by stream and position.
- `block_manager.py`: allocation, prefix matching and eviction of cache blocks.
- `paged_cache.py`: the keys and values of all blocks, as a transformers cache.
- `model_runner.py`: forward passes, and the check that paged attention equals the model's own.
- `generation_request.py`: one request and its progress.
- `scheduler.py`: the loop that starts requests, runs the model and samples.
- `loading.py`: model and tokenizer of a folder or hub id, end tokens, fingerprint.
- `engine.py`: `TransformersEngine`, which runs the scheduler in the caller's event loop.
- `reward.py`: reward models, with label tokens or a classification head, as such engines.
"""
