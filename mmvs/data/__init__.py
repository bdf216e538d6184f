"""Reading and writing data: layouts, video, geometry, words."""
