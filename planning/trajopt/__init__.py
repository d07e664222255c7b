"""planning/trajopt"""
