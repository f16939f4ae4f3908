"""The command line, one file a subcommand; nothing heavy is imported before a command runs."""
