"""planning/vectors"""
