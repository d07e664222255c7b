"""planning/wrappers"""
