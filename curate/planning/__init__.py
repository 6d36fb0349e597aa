"""From a loaded config to a plan: checks, phases, fingerprints, and what a run would do."""
