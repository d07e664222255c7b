"""Engines behind HTTP servers.

- `servers.py`: JSON requests to several equal servers, with load balancing, retries and deadlines.
- `replies.py`: what servers reply, validated.
- `openai.py`: `OpenAIEngine`, for any server with OpenAI's completions interface.
"""
