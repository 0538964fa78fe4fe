"""Evidence about the package: ages, posterior, speed. Imported by the command line alone."""
