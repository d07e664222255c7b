"""llm/importing"""
