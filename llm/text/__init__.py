"""llm/text"""
