"""The project around the library: command line, runs through papermill, rendering of the site."""
