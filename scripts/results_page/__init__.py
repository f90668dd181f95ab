"""Parts of scripts/results-page."""
