"""Where and how a long computation runs: device, memory, arrays, resuming, progress; no biology."""
