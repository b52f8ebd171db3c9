"""What a long computation needs to run: device, memory, arrays, resuming, progress; no biology."""
