"""The self-test `voxelmill verify`: closed forms, golden numbers and statistics on this machine."""
