"""planning/sampling"""
