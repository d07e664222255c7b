"""Inference engines: what continues and scores token sequences. They know no texts, steps of a solution or trees.

An engine inherits from `base.Engine` and gets a row in `ENGINES` of `llm/load.py`. The files, each after those that it
imports:

- `messages.py`: token ids, sampling settings, generations, scores and counters.
- `flops.py`: floating-point operations of a decoder from its sizes.
- `base.py`: the interface `Engine`; exports the messages.
- `token_ids.py`: checks of prompts.
- `step_splitter.py`: decoding, and where steps and solutions end.
- `model_files.py`: download, check and fingerprint of a model folder.
- `transformers/`: the default engine, on models of the transformers library.
- `vllm/`: vLLM's engine.
- `http/`: servers with OpenAI's completions interface.
- `replay.py`: an engine without a model, behind a tape.
- `replicas.py`: several copies of an engine, each in a Ray actor.
"""
