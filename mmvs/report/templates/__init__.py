"""The HTML of pages, lists of runs and sweeps, for Jinja; values are escaped."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, Template

TEMPLATES = Path(__file__).parent


def template(name: str) -> Template:
    """A template of this folder by its file's name."""
    return Environment(autoescape=True, loader=FileSystemLoader(TEMPLATES)).get_template(name)
