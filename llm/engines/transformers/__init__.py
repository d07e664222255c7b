"""llm/engines/transformers"""
