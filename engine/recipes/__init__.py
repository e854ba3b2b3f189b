"""The recipes by name; a module is imported when it is asked for."""

RECIPES = {"cxr_objects": "voxelmill.engine.recipes.cxr_objects"}
