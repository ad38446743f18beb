"""Sessions: placements and values, agreement between the parties, the engine that runs calls in order."""
