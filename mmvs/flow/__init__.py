"""Optical flow: estimators, and the store on disk."""
