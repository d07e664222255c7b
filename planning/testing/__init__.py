"""planning/testing"""
