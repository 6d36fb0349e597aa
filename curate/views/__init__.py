"""What people ask of a run folder: status, report, explain, inspect, pairs."""
