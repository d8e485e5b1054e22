"""Reports: results in, one file for people out. Reads results and scores; never scores anything itself."""
