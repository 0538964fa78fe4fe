"""What was observed: columns and units, readers, duplicates, quality cuts, extinction."""
