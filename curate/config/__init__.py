"""The config file: read with positions, overridden, validated, and described as a JSON Schema."""
