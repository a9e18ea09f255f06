"""Diagnostic training dynamics for embedding and retrieval models."""

__version__ = "0.1.0"
