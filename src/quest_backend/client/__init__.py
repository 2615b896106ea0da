"""An upload client for headsets, tools and scripts: parallel parts, resumed after a crash."""
