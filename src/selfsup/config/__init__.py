"""What is asked of a study: the schema, presets and TOML, continuation, the grid."""
