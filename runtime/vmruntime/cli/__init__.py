"""The runtime's commands: thin layers of click over the library."""
