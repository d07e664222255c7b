"""llm/engines/vllm"""
