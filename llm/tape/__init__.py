"""llm/tape"""
