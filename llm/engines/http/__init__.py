"""llm/engines/http"""
