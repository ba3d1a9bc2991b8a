"""Cameras, equirectangular images, point rendering and warps: pure functions on tensors."""
