"""The exporter's command."""
