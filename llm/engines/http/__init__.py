"""Engines behind HTTP servers.

- `servers.py`: JSON requests to several equal servers, with load balancing, retries and deadlines.
- `openai.py`: `OpenAIEngine`, for any server with OpenAI's completions interface.
"""
