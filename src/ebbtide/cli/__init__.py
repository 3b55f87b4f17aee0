"""The command line: knows recipes and reports, nothing deeper."""
