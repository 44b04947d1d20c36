"""The `ota-service` command, one module per subcommand."""
