"""Where parts are put together: a recipe is a value that becomes JSON and back, a run is a folder."""
